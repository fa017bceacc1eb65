//! Chapter 5: how the networks of the course learned, from the logs beside their weights, and the
//! first epochs of the digits again.

pub mod support;

use std::ops::ControlFlow;

use fewer_bits::nn::*;
use support::figure::*;
use support::{Evidence, Outcome, grouped, networks, training};

/// The epochs of the digits that are trained again.
const AGAIN: usize = 10;

pub fn main() -> Outcome {
    support::write(run)
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A line of a log.
struct Line {
    epoch: f64,
    training: f64,
    test: f64,
    accuracy: f64,
    seconds: f64,
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mut logs = Vec::new();
    let mut table = String::from(
        "| network | parameters | epochs | training loss | test loss | test accuracy | seconds |\n\
         |:--|--:|--:|--:|--:|--:|--:|\n",
    );
    for name in networks::NAMES {
        let log = read(name)?;
        let last = log.last().ok_or("an empty log")?;
        let parameters = networks::untrained(name, 0)?.parameter_count();
        table += &format!(
            "| {name} | {} | {} | {:.3} | {:.3} | {:.4} | {:.1} |\n",
            grouped(parameters as u64),
            last.epoch,
            last.training,
            last.test,
            last.accuracy,
            last.seconds
        );
        logs.push((name, log));
    }
    evidence.text("ch05_trained.md", table);
    evidence.figure("ch05_trained.svg", panels(&logs)?);
    evidence.text("ch05_again.md", again(&logs[0].1)?);
    Ok(())
}

fn read(name: &str) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(networks::log(name))?;
    let line = |line: &str| -> Result<Line> {
        let numbers = line
            .split(',')
            .map(str::parse)
            .collect::<std::result::Result<Vec<f64>, _>>()?;
        let [epoch, training, test, accuracy, seconds] = numbers[..] else {
            return Err(format!("`{line}` is no line of a log").into());
        };
        Ok(Line {
            epoch,
            training,
            test,
            accuracy,
            seconds,
        })
    };
    text.lines().skip(1).map(line).collect()
}

/// Trains the digits for a few epochs, and compares the loss with that of the log.
fn again(log: &[Line]) -> Result<String> {
    let (images, _) = networks::digits()?;
    let (mut network, recipe) = training::setting("digits")?;
    let mut losses = Vec::new();
    train(
        &mut network,
        &images,
        None,
        &recipe,
        &mut Exact,
        |progress| {
            if let Progress::Epoch(epoch) = progress {
                losses.push(epoch.training_loss);
            }
            match losses.len() < AGAIN {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        },
    )?;
    let mut table = String::from("| epoch | loss in the log | loss now |\n|--:|--:|--:|\n");
    for (line, loss) in log.iter().zip(losses) {
        table += &format!("| {} | {:.2} | {loss:.2} |\n", line.epoch, line.training);
    }
    Ok(table)
}

/// Training and test loss against the epoch, a panel for each network.
fn panels(logs: &[(&str, Vec<Line>)]) -> Result<String> {
    let title = "Training and test loss of four networks after each epoch";
    svg(title, WIDTH, 500, |area| {
        for (i, (area, (name, log))) in area.split_evenly((2, 2)).iter().zip(logs).enumerate() {
            let end = log.len() as f64;
            let mut chart = ChartBuilder::on(area)
                .margin(6)
                .margin_right(14)
                .caption(name, font(16))
                .x_label_area_size(44)
                .y_label_area_size(54)
                .build_cartesian_2d(0.0..end, (0.01f64..2.0f64).log_scale())?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("epoch")
                .x_labels(if end < 10.0 { log.len() + 1 } else { 5 })
                .y_labels(3)
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| format!("{y}"))
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            let of = |loss: fn(&Line) -> f64| log.iter().map(move |line| (line.epoch, loss(line)));
            chart.draw_series(LineSeries::new(of(|l| l.training), BLUE.stroke_width(2)))?;
            chart.draw_series(LineSeries::new(of(|l| l.test), ORANGE.stroke_width(2)))?;
            if i == 0 {
                chart.draw_series([
                    Text::new("test", (70.0, 0.6), coloured(16, &ORANGE)),
                    Text::new("training", (4.0, 0.022), coloured(16, &BLUE)),
                ])?;
            }
        }
        Ok(())
    })
}
