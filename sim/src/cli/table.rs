//! The table of planted defects, as a page of the docs: `mutants --table FILE` brings the rows of those that it judged up
//! to date and leaves the others, so it may be made in parts. The sums under it are of all rows.

use std::path::Path;

use super::Trouble;

/// A row: the mutant, the oracle, seeds to find it, and of its shrunk run the faults, nodes and seconds.
pub(super) type Row = [String; 6];

/// The line over the rows.
const RULE: &str = "|---|---|---|---|---|---|";
/// Places of the numbers in a row.
const SEEDS: usize = 2;
const FAULTS: usize = 3;
const NODES: usize = 4;
const SECONDS: usize = 5;

/// Puts a row into the table of a page, in the place of one with the same name, and does the sums again.
pub(super) fn put(page: &Path, row: Row) -> Result<(), Trouble> {
    let text = std::fs::read_to_string(page).map_err(|why| Trouble(format!("{}: {why}", page.display())))?;
    let Some((head, rest)) = text.split_once(RULE) else {
        return Err(Trouble(format!("{} has no table: a line {RULE}", page.display())));
    };
    let is_row = |line: &&str| line.starts_with('|');
    let mut rows: Vec<Row> = rest.trim_start().lines().take_while(is_row).filter_map(cells).collect();
    // What follows the sums, which are the paragraph after the table.
    let tail: Vec<&str> =
        rest.trim_start().lines().skip_while(is_row).skip(1).skip_while(|line| !line.is_empty()).collect();
    rows.retain(|known| known[0] != row[0]);
    rows.push(row);
    rows.sort();
    let lines: Vec<String> = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    let tail = if tail.is_empty() { String::new() } else { tail.join("\n") + "\n" };
    std::fs::write(page, format!("{head}{RULE}\n{}\n{}\n{tail}", lines.concat(), sums(&rows)))?;
    Ok(())
}

fn cells(line: &str) -> Option<Row> {
    let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect();
    cells.try_into().ok()
}

/// How many were found, how soon, and how small.
fn sums(rows: &[Row]) -> String {
    let numbers = |place: usize| -> Vec<f64> {
        let mut all: Vec<f64> = rows.iter().filter_map(|row| row[place].parse().ok()).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let seeds = numbers(SEEDS);
    let soon = seeds.iter().filter(|seeds| **seeds <= 200.0).count();
    let found = format!("Of {}: {} found, {soon} of them within 200 seeds.", rows.len(), seeds.len());
    let middle = |place: usize| {
        let all = numbers(place);
        all.get(all.len() / 2).copied().zip(all.last().copied())
    };
    match (middle(FAULTS), middle(NODES), middle(SECONDS)) {
        (Some((faults, _)), Some((nodes, _)), Some((seconds, longest))) => format!(
            "{found} Shrunk: {}, the median has {faults} faults and {nodes} nodes after {seconds} s, the slowest took {longest} s.",
            numbers(FAULTS).len()
        ),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, seeds: &str, faults: &str) -> Row {
        [name, "liveness", seeds, faults, "4", "2.5"].map(str::to_string)
    }

    #[test]
    fn rows_are_replaced_and_summed_and_the_rest_of_the_page_stays() {
        let page = std::env::temp_dir().join(format!("tidegate-table-{}.md", std::process::id()));
        let head = "# Planted defects\n\n| mutant | oracle | seeds | faults | nodes | s |\n";
        std::fs::write(&page, format!("{head}{RULE}\n\nNo sums yet.\n\nThe end.\n")).unwrap();
        for row in [row("b", "7", "2"), row("a", "-", "-"), row("b", "201", "3")] {
            assert!(put(&page, row).is_ok());
        }
        let text = std::fs::read_to_string(&page).unwrap();
        std::fs::remove_file(&page).unwrap();
        let rows = "| a | liveness | - | - | 4 | 2.5 |\n| b | liveness | 201 | 3 | 4 | 2.5 |\n";
        let sums = "Of 2: 1 found, 0 of them within 200 seeds. Shrunk: 1, the median has 3 faults and 4 nodes after 2.5 s, \
                    the slowest took 2.5 s.";
        assert_eq!(text, format!("{head}{RULE}\n{rows}\n{sums}\n\nThe end.\n"));
    }
}
