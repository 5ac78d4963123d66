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
        // A thread of its own: signals are looked at while it waits.
        let answer = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            stdin().read_line(&mut answer).map(|_| answer)
        });
        let answer = answer.await.ok()?.ok()?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}
