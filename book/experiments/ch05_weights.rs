//! Chapter 5: three trained networks with their weights in 8 to 2 bits, one scale for a layer or one
//! for each of its output channels; what that saves, and what it looks like.

pub mod support;

use fewer_bits::io::safetensors::{Tensor, to_bytes};
use fewer_bits::nn::{Layer, Network, fold_batch_norm};
use fewer_bits::ptq::weight_scheme;
use fewer_bits::{Codes, QTensor};
use ndarray::Array1;
use support::figure::*;
use support::widths::{BITS, Score, Scores, chart};
use support::{Evidence, Outcome, grouped, networks};

pub fn main() -> Outcome {
    support::write(run)
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub fn run(evidence: &mut Evidence) -> Outcome {
    let scores = ["digits", "mlp", "cnn"].map(Scores::of);
    let scores: Vec<Scores> = scores.into_iter().collect::<Result<_>>()?;
    evidence.text(
        "ch05_accuracy.md",
        table(&scores, |of, score| format!("{:.3}", of.share(score))),
    );
    evidence.text(
        "ch05_losses.md",
        table(&scores, |_, score| format!("{:.3}", score.loss)),
    );
    evidence.text("ch05_bytes.md", bytes(&scores)?);
    evidence.figure("ch05_accuracy.svg", panels(&scores)?);
    evidence.text("ch05_left.md", left(&networks::trained("mlp")?, "fc2")?);
    evidence.figure(
        "ch05_before_after.svg",
        before_after(&networks::trained("mlp")?, "fc2")?,
    );
    Ok(())
}

/// A row for f32 and for each width, two columns a network.
fn table(scores: &[Scores], cell: impl Fn(&Scores, &Score) -> String) -> String {
    let mut table = String::from("| bits |");
    for Scores { name, .. } in scores {
        table += &format!(" {name}: per tensor | per channel |");
    }
    table += &format!("\n|--:|{}\n| 32 |", "--:|".repeat(2 * scores.len()));
    for of in scores {
        table += &format!(" {0} | {0} |", cell(of, &of.f32));
    }
    for (i, bits) in BITS.iter().enumerate() {
        table += &format!("\n| {bits} |");
        for of in scores {
            let (tensor, channel) = (cell(of, &of.tensor[i]), cell(of, &of.channel[i]));
            table += &format!(" {tensor} | {channel} |");
        }
    }
    table + "\n"
}

/// A panel for each network.
fn panels(scores: &[Scores]) -> Result<String> {
    let title =
        "Accuracy of three networks against the bits of their weights, per tensor and per channel";
    svg(title, WIDTH, 780, |area| {
        for (area, of) in area.split_evenly((3, 1)).iter().zip(scores) {
            chart(area, of)?;
        }
        Ok(())
    })
}

/// Bytes of the parameters, and what is stored beside the codes.
fn bytes(scores: &[Scores]) -> Result<String> {
    let mut table = String::from(
        "| network | f32 | 8 bits, per tensor | per channel | 4 bits, per channel | 2 bits, per channel | f32 over 8 bits |\n\
         |:--|--:|--:|--:|--:|--:|--:|\n",
    );
    for of in scores {
        let f32 = of.f32.bytes;
        let cells = [
            of.f32,
            of.tensor[0],
            of.channel[0],
            of.channel[3],
            of.channel[5],
        ];
        let cells = cells.map(|score| grouped(score.bytes as u64)).join(" | ");
        let ratio = f32 as f64 / of.channel[0].bytes as f64;
        table += &format!("| {} | {cells} | {ratio:.2} |\n", of.name);
    }
    let network = networks::trained("mlp")?;
    let file = to_bytes(stored(&network)?)?.len();
    table += &format!(
        "\n*The file of `mlp` in 8 bits, per channel, has {} bytes with its header.*\n",
        grouped(file as u64)
    );
    Ok(table)
}

/// What a file of a network with INT8 weights holds: codes, scales and biases.
// ANCHOR: stored
fn stored(network: &Network) -> fewer_bits::Result<Vec<(String, Tensor)>> {
    let mut tensors = Vec::new();
    for (site, layer) in fold_batch_norm(network)?.layers() {
        let Some(weight) = layer.weight() else {
            continue;
        };
        let quantized = QTensor::quantize(weight, weight_scheme(8, true)?)?;
        let scales = quantized.params().iter().map(|pair| pair.scale());
        let scales = scales.collect::<Array1<f32>>().into_dyn();
        if let Codes::I8(codes) = quantized.codes() {
            let codes = Array1::from(codes.clone()).into_dyn();
            tensors.push((format!("{site}.weight"), Tensor::I8(codes)));
        }
        tensors.push((format!("{site}.scale"), Tensor::F32(scales)));
        for (name, bias) in layer.parameters().into_iter().skip(1) {
            tensors.push((format!("{site}.{name}"), Tensor::F32(bias.to_owned())));
        }
    }
    Ok(tensors)
}
// ANCHOR_END: stored

/// What becomes of a layer's weights: how many different ones are left, and how many are 0.
fn left(network: &Network, site: &str) -> Result<String> {
    let weight = network.layer(site).and_then(Layer::weight);
    let weight = weight.ok_or("no such layer")?;
    let mut table =
        String::from("| bits | step | different weights | zeros | of |\n|--:|--:|--:|--:|--:|\n");
    for bits in BITS {
        let quantized = QTensor::quantize(weight.view(), weight_scheme(bits, false)?)?;
        let codes = quantized.to_codes();
        let different: std::collections::BTreeSet<_> = codes.iter().collect();
        table += &format!(
            "| {bits} | {:.4} | {} | {} | {} |\n",
            quantized.params()[0].scale(),
            different.len(),
            grouped(codes.iter().filter(|&&q| q == 0).count() as u64),
            grouped(codes.len() as u64),
        );
    }
    Ok(table)
}

/// Histograms of a layer's weights in f32, and where the codes of 8, 4 and 2 bits put them.
fn before_after(network: &Network, site: &str) -> Result<String> {
    const BINS: usize = 81;
    let weight = network
        .layer(site)
        .and_then(Layer::weight)
        .ok_or("no such layer")?;
    let end = weight.iter().fold(0.0f32, |m, w| m.max(w.abs())) * 1.03;
    let histogram = |values: &mut dyn Iterator<Item = f32>| {
        let mut counts = vec![0u32; BINS];
        for w in values {
            let bin = ((w / end + 1.0) / 2.0 * BINS as f32) as usize;
            counts[bin.min(BINS - 1)] += 1;
        }
        counts
    };
    let mut rows = vec![("f32".to_owned(), histogram(&mut weight.iter().copied()))];
    for bits in [8, 4, 2] {
        let restored = QTensor::quantize(weight.view(), weight_scheme(bits, false)?)?.dequantize();
        rows.push((format!("{bits} bits"), histogram(&mut restored.into_iter())));
    }
    let title = format!("Histograms of the weights of {site} in f32 and in 8, 4 and 2 bits");
    svg(&title, WIDTH, 520, |area| {
        let last = rows.len() - 1;
        let heights = [110, 220, 330];
        let areas = area.split_by_breakpoints([] as [i32; 0], heights);
        for (i, (area, (name, counts))) in areas.iter().zip(&rows).enumerate() {
            let top = f64::from(*counts.iter().max().unwrap_or(&1));
            let mut chart = ChartBuilder::on(area)
                .margin(6)
                .margin_left(14)
                .margin_right(20)
                .x_label_area_size(if i == last { 50 } else { 4 })
                .y_label_area_size(74)
                .build_cartesian_2d(-end..end, 0.0..top * 1.05)?;
            let mut mesh = chart.configure_mesh();
            mesh.disable_mesh()
                .y_labels(2)
                .label_style(font(16))
                .axis_style(INK);
            mesh.y_label_formatter(&|y| format!("{y:.0}"));
            let in_words = |x: &f32| format!("{x:.1}").replace('-', "−");
            match i == last {
                true => mesh
                    .x_labels(5)
                    .x_desc("weight")
                    .x_label_formatter(&in_words),
                false => mesh.x_labels(0),
            };
            mesh.draw()?;
            let colour = if i == 0 { MUTED } else { BLUE };
            chart.draw_series(counts.iter().enumerate().map(|(bin, &count)| {
                let edge = |bin: usize| (bin as f32 / BINS as f32 * 2.0 - 1.0) * end;
                Rectangle::new(
                    [(edge(bin), 0.0), (edge(bin + 1), f64::from(count))],
                    colour.filled(),
                )
            }))?;
            chart.draw_series([Text::new(
                name.clone(),
                (-end * 0.95, top),
                coloured(16, &colour),
            )])?;
        }
        Ok(())
    })
}
