//! Chapter 7: images that are darker or brighter than those of the calibration.

pub mod support;

use std::error::Error;

use fewer_bits::Scheme;
use fewer_bits::exec::Scope;
use fewer_bits::nn::fold_batch_norm;
use fewer_bits::ptq::{Dynamic, Recipe, Static};
use support::figure::*;
use support::networks::{self, correct, predictions};
use support::{Evidence, Outcome};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const FACTORS: [f32; 9] = [0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

/// What one network says at one brightness.
struct At {
    factor: f32,
    /// Right in f32, static and dynamic.
    right: [usize; 3],
    /// Other predictions than in f32: static and dynamic.
    others: [usize; 2],
    images: usize,
}

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    let mlp = at_each("mlp", 1000)?;
    let ds_cnn = at_each("ds_cnn", 200)?;
    evidence.text("ch07_shift_mlp.md", table(&mlp));
    evidence.text("ch07_shift_ds_cnn.md", table(&ds_cnn));
    evidence.figure(
        "ch07_shift.svg",
        figure(&[("mlp", mlp), ("ds_cnn", ds_cnn)])?,
    );
    Ok(())
}

fn at_each(name: &str, images: usize) -> Result<Vec<At>> {
    let network = fold_batch_norm(&networks::trained(name)?)?;
    let (calibration, test) = networks::committed(name)?;
    let (calibration, test) = (
        networks::first(&calibration, 64)?,
        networks::first(&test, images)?,
    );
    let fixed = Static::new(&network, [calibration.inputs().clone()], Recipe::default())?;
    let dynamic = Dynamic::new(&network, Scheme::weights(0), Scope::Row)?;
    let mut all = Vec::new();
    for factor in FACTORS {
        let x = test.inputs().mapv(|x| x * factor);
        let float = predictions(&network.forward(x.view())?);
        let fixed = predictions(&fixed.forward(x.view())?);
        let dynamic = predictions(&dynamic.forward(x.view())?);
        let others = |found: &[usize]| found.iter().zip(&float).filter(|(a, b)| a != b).count();
        all.push(At {
            factor,
            right: [&float, &fixed, &dynamic].map(|found| correct(found, &test)),
            others: [others(&fixed), others(&dynamic)],
            images,
        });
    }
    Ok(all)
}

fn table(all: &[At]) -> String {
    let mut table = String::from(
        "| brightness | right in f32 | static | dynamic | others than f32, static | dynamic |\n\
         |--:|--:|--:|--:|--:|--:|\n",
    );
    for At {
        factor,
        right,
        others,
        ..
    } in all
    {
        let factor = match *factor {
            factor if factor < 1.0 => format!("1/{}", 1.0 / factor),
            factor => format!("{factor}"),
        };
        let ([float, fixed, dynamic], [a, b]) = (right, others);
        table += &format!("| {factor} | {float} | {fixed} | {dynamic} | {a} | {b} |\n");
    }
    table
}

/// The share of predictions that are not those of f32.
fn figure(networks: &[(&str, Vec<At>); 2]) -> Result<String> {
    svg(
        "Share of predictions other than in f32, against the brightness of the images, static and dynamic, for two networks",
        WIDTH,
        360,
        |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .margin_right(20)
                .x_label_area_size(46)
                .y_label_area_size(54)
                .build_cartesian_2d((0.05f64..20f64).log_scale().base(2.0), 0f64..80f64)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.15))
                .x_desc("brightness, 1 as in the calibration")
                .y_desc("other predictions in %")
                .x_label_formatter(&|x| match *x {
                    x if x < 1.0 => format!("1/{:.0}", 1.0 / x),
                    x => format!("{x:.0}"),
                })
                .y_label_formatter(&|y| format!("{y:.0}"))
                .label_style(font(16))
                .axis_style(INK)
                .draw()?;
            for (i, (_, all)) in networks.iter().enumerate() {
                for (scheme, colour) in [ORANGE, BLUE].into_iter().enumerate() {
                    let points: Vec<(f64, f64)> = all
                        .iter()
                        .map(|at| {
                            let share = 100.0 * at.others[scheme] as f64 / at.images as f64;
                            (f64::from(at.factor), share)
                        })
                        .collect();
                    let width = if i == 0 { 3 } else { 1 };
                    chart
                        .draw_series(LineSeries::new(points.clone(), colour.stroke_width(width)))?;
                    chart
                        .draw_series(points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
                }
            }
            chart.draw_series([
                Text::new("ds_cnn, static", (1.0, 56.0), coloured(16, &ORANGE)),
                Text::new("mlp, static", (4.5, 17.5), coloured(16, &ORANGE)),
                Text::new("both, dynamic", (0.3, 21.0), coloured(16, &BLUE)),
            ])?;
            Ok(())
        },
    )
}
