//! The scoreboard: this crate, its peers and the machine's own limits, measured in turns.
//!
//! Every round measures each row for a few milliseconds, so that whatever else the machine does
//! meets all of them alike; a row's time is the median of all its calls but the first of each turn. On Linux, time
//! in which something else had the core is not counted for one thread; for two it cannot be told.
//! Before it is timed, each result is compared with the right one. Takes about a minute and a half.
//!
//! `cargo run --release --example scoreboard` prints all rows, and makes the tables and the figure of
//! the page *Benchmarks*. With `-- --json` it prints JSON and writes nothing. With
//! `FEWER_BITS_ISA=avx2` (or another name) only that instruction set's kernels are measured.

#[path = "../../benches/support/mod.rs"]
pub mod bench;
#[path = "scoreboard/report.rs"]
mod report;
#[path = "scoreboard/roofline.rs"]
mod roofline;
#[path = "scoreboard/rounds.rs"]
mod rounds;
#[path = "scoreboard/rows.rs"]
mod rows;
pub mod support;

use std::cell::OnceCell;
use std::error::Error;

use rounds::Board;
use support::{Evidence, Outcome};

pub fn main() -> Outcome {
    if std::env::args().any(|argument| argument == "--json") {
        let board = Board::measure()?;
        println!("{:#}", report::json(&board));
        return Ok(());
    }
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let board = OnceCell::new();
    let measured = || -> Result<&Board, Box<dyn Error>> {
        if board.get().is_none() {
            let measured = Board::measure()?;
            println!("{}", report::everything(&measured));
            drop(board.set(measured));
        }
        Ok(board.get().ok_or("measured above")?)
    };
    evidence.timing("scoreboard_limits.md", || Ok(report::limits(measured()?)))?;
    evidence.timing("scoreboard_int8.md", || Ok(report::int8(measured()?)))?;
    evidence.timing("scoreboard_avx2.md", || Ok(report::avx2(measured()?)))?;
    evidence.timing("scoreboard_amx.md", || {
        let name = "scoreboard_amx.md";
        match report::amx(measured()?) {
            Some(table) => Ok(table),
            // What a machine with AMX has found stays.
            None => Ok(std::fs::read_to_string(support::folder().join(name))?),
        }
    })?;
    evidence.timing("scoreboard_more.md", || Ok(report::more(measured()?)))?;
    evidence.timing("scoreboard_threads.md", || Ok(report::threads(measured()?)))?;
    evidence.timing("scoreboard_roofline.svg", || roofline::figure(measured()?))
}
