//! Asking the person at the terminal.

use super::Ui;
use std::io::{IsTerminal, stdin};

impl Ui {
    /// Whether the answer is yes; none when nobody is there to be asked. Ctrl-C ends the program as ever.
    pub(crate) async fn confirm(&self, question: &str) -> Option<bool> {
        if !stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        self.write_err(question);
        let answer = line_of_stdin().await?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// A line that is not to stand on the command line: asked for at a terminal, else the first one of stdin.
    pub(crate) async fn secret(&self, question: &str) -> Option<String> {
        if stdin().is_terminal() && std::io::stderr().is_terminal() {
            self.write_err(question);
        }
        line_of_stdin().await
    }
}

/// Read by a thread of its own: signals are looked at while it waits.
async fn line_of_stdin() -> Option<String> {
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        stdin().read_line(&mut line).map(|_| line)
    });
    line.await.ok()?.ok()
}
