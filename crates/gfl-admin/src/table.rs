//! Columns that are as wide as what stands in them.

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// The lines of a table; columns beyond those of `align` are numbers, set to the right.
pub(crate) fn lines(header: &[&str], rows: &[Vec<String>], align: &[Align]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&header]).map(|row| &row[column]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            match align.get(column).unwrap_or(&Align::Right) {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    [&header].into_iter().chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit() {
        let rows = vec![
            vec!["ünal".to_owned(), "7".to_owned()],
            vec!["b".to_owned(), "12345".to_owned()],
        ];
        assert_eq!(
            lines(&["Who", "N"], &rows, &[Align::Left]),
            ["Who       N", "ünal      7", "b     12345"]
        );
    }
}
