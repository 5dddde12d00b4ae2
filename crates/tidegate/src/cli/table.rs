//! Rows and columns: aligned on a terminal, separated by tabs elsewhere.

use std::io::{self, IsTerminal as _};

use super::text::{Tone, printable};

/// A cell, and how it is coloured.
pub(super) struct Cell {
    text: String,
    paint: fn(Tone, &str) -> String,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: |_, text| text.to_owned() }
    }

    pub(super) fn painted(self, paint: fn(Tone, &str) -> String) -> Self {
        Self { paint, ..self }
    }
}

/// How a table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Aligned(Tone),
    Tabs,
}

impl Layout {
    pub(super) fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Aligned(Tone::of_stdout()) } else { Self::Tabs }
    }
}

/// The finished text. A cell without text shows `-`.
pub(super) fn render(header: &[&str], rows: &[Vec<Cell>], layout: Layout) -> String {
    let shown: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
    let width = |column: usize| {
        let cells = shown.iter().filter_map(|row| row.get(column));
        let head = header.get(column).map_or(0, |title| title.len());
        cells.map(|text| text.chars().count()).max().unwrap_or(0).max(head)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    let heading = header.iter().map(|title| {
        let paint: fn(Tone, &str) -> String = Tone::heading;
        ((*title).to_owned(), paint)
    });
    line(heading, &widths, layout, &mut out);
    for (texts, row) in shown.into_iter().zip(rows) {
        line(texts.into_iter().zip(row.iter().map(|cell| cell.paint)), &widths, layout, &mut out);
    }
    out
}

fn clean(cell: &Cell) -> String {
    match printable(&cell.text.replace(['\n', '\t'], " ")) {
        text if text.is_empty() => "-".into(),
        text => text,
    }
}

fn line(
    cells: impl Iterator<Item = (String, fn(Tone, &str) -> String)>,
    widths: &[usize],
    layout: Layout,
    out: &mut String,
) {
    for (i, ((text, paint), width)) in cells.zip(widths).enumerate() {
        match layout {
            Layout::Tabs => {
                out.push_str(if i == 0 { "" } else { "\t" });
                out.push_str(&text);
            }
            Layout::Aligned(tone) => {
                let last = i + 1 == widths.len();
                let padding = if last { 0 } else { width.saturating_sub(text.chars().count()) + 2 };
                out.push_str(&paint(tone, &text));
                out.push_str(&" ".repeat(padding));
            }
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![Cell::new("user-ann"), Cell::new("running").painted(Tone::good)],
            vec![Cell::new("b\tc\x1b"), Cell::new("")],
        ]
    }

    #[test]
    fn a_terminal_gets_columns_and_a_pipe_gets_tabs() {
        let text = render(&["NAME", "STATE"], &rows(), Layout::Aligned(Tone::Plain));
        assert_eq!(text, "NAME      STATE\nuser-ann  running\nb c\u{fffd}      -\n");
        let text = render(&["NAME", "STATE"], &rows(), Layout::Tabs);
        assert_eq!(text, "NAME\tSTATE\nuser-ann\trunning\nb c\u{fffd}\t-\n");
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let text = render(
            &["STATE", "X"],
            &[vec![Cell::new("up").painted(Tone::good), Cell::new("1")]],
            Layout::Aligned(Tone::Colour),
        );
        assert!(text.ends_with("\x1b[32mup\x1b[0m     1\n"), "{text:?}");
    }
}
