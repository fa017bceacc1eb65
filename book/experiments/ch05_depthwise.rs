//! Chapter 5: why a depthwise network falls apart with one scale a layer.

pub mod support;

use fewer_bits::QTensor;
use fewer_bits::nn::{BatchNorm, Layer, Network, fold_batch_norm};
use fewer_bits::ptq::{WeightsOnly, weight_scheme};
use support::figure::*;
use support::widths::{BITS, Scores, chart, each, score};
use support::{Evidence, Outcome, networks};

pub fn main() -> Outcome {
    support::write(run)
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The layer that is to blame.
const GUILTY: &str = "depthwise1";
/// The widths at which it alone is given a scale for each channel.
const TRIED: [u32; 3] = [6, 5, 4];

pub fn run(evidence: &mut Evidence) -> Outcome {
    let trained = networks::trained("ds_cnn")?;
    let folded = fold_batch_norm(&trained)?;
    let scores = Scores::of("ds_cnn")?;
    evidence.text("ch05_depthwise.md", accuracy(&trained, &scores)?);
    let title = "Accuracy of ds_cnn against the bits of its weights, per tensor and per channel";
    let drawn = svg(title, WIDTH, 300, |area| chart(area, &scores))?;
    evidence.figure("ch05_depthwise.svg", drawn);
    evidence.text("ch05_channels.md", channels(&trained, &folded)?);
    evidence.text("ch05_guilty.md", guilty(&trained)?);
    evidence.figure("ch05_channels.svg", bars(&folded, GUILTY)?);
    Ok(())
}

/// Per tensor, per tensor but for one layer, and per channel.
fn accuracy(network: &Network, scores: &Scores) -> Result<String> {
    let test = networks::fashion("test")?;
    let mixed = each(&TRIED, |bits| {
        let [tensor, channel] = [false, true]
            .map(|per_channel| WeightsOnly::new(network, weight_scheme(bits, per_channel)?));
        let mixed = with_layer_of(tensor?.network(), channel?.network(), GUILTY)?;
        score(&mixed, 0, &test)
    })?;
    let mut table = format!(
        "| bits | per tensor | per tensor, but `{GUILTY}` per channel | per channel |\n|--:|--:|--:|--:|\n"
    );
    let share = |score| format!("{:.3}", scores.share(score));
    let f32 = share(&scores.f32);
    table += &format!("| 32 | {f32} | | {f32} |\n");
    for (i, bits) in BITS.iter().enumerate() {
        let tried = TRIED.iter().position(|tried| tried == bits);
        let mixed = tried.map_or(String::new(), |at| share(&mixed[at]));
        let (tensor, channel) = (share(&scores.tensor[i]), share(&scores.channel[i]));
        table += &format!("| {bits} | {tensor} | {mixed} | {channel} |\n");
    }
    Ok(table)
}

/// The network with the layer `site` of another.
fn with_layer_of(network: &Network, other: &Network, site: &str) -> fewer_bits::Result<Network> {
    let layers = network.layers().zip(other.layers());
    let layers = layers.map(|((name, own), (_, other))| {
        let layer = if name == site { other } else { own };
        (name, layer.clone())
    });
    Network::new(network.input_shape(), layers)
}

/// The largest absolute weight of each output channel.
fn largest(layer: &Layer) -> Vec<f32> {
    let weight = layer.weight();
    let channels = weight.iter().flat_map(|weight| weight.outer_iter());
    let largest = channels.map(|channel| channel.iter().fold(0.0f32, |m, w| m.max(w.abs())));
    largest.collect()
}

/// How many times as large as the middle one the largest channel is.
fn spread(largest: &[f32]) -> f32 {
    let mut sorted = largest.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted[sorted.len() - 1] / sorted[sorted.len() / 2]
}

/// How much the channels of each layer differ, and how many of them one scale turns to zeros.
fn channels(trained: &Network, folded: &Network) -> Result<String> {
    let mut table = String::from(
        "| layer | channels | largest over middle, as trained | folded | lost at 5 bits | at 4 | at 3 | at 2 |\n\
         |:--|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (name, layer) in folded.layers() {
        let Some(weight) = layer.weight() else {
            continue;
        };
        let (before, after) = (trained.layer(name).map(largest), largest(layer));
        table += &format!(
            "| {name} | {} | {:.1} | {:.1} |",
            after.len(),
            spread(&before.unwrap_or_default()),
            spread(&after)
        );
        for bits in [5, 4, 3, 2] {
            let codes = QTensor::quantize(weight.view(), weight_scheme(bits, false)?)?.dequantize();
            let zero = |channel: &ndarray::ArrayViewD<'_, f32>| channel.iter().all(|&w| w == 0.0);
            table += &format!(" {} |", codes.outer_iter().filter(zero).count());
        }
        table += "\n";
    }
    Ok(table)
}

/// The channels of the guilty layer with the largest folded weights, and why they are so large.
fn guilty(trained: &Network) -> Result<String> {
    let layer = trained.layer(GUILTY).ok_or("no such layer")?;
    let Some(Layer::BatchNorm(norm)) = trained.layer(&format!("{GUILTY}.norm")) else {
        return Err("no norm behind it".into());
    };
    let (factor, _) = norm.factor_and_shift();
    let parameters = Layer::from(norm.clone());
    let parameters = parameters.parameters();
    let (gamma, variance) = (&parameters[0].1, &parameters[3].1);
    let mut channels: Vec<_> = largest(layer).into_iter().enumerate().collect();
    channels.sort_by(|a, b| {
        let folded = |(c, w): &(usize, f32)| w * factor[*c].abs();
        folded(b).total_cmp(&folded(a))
    });
    let mut table = String::from(
        "| channel | largest weight as trained | of the norm: weight | variance | factor | largest weight, folded |\n\
         |--:|--:|--:|--:|--:|--:|\n",
    );
    let middle = channels.len() / 2;
    for &(c, w) in [0, 1, 2, middle, channels.len() - 1].map(|i| &channels[i]) {
        let deviation = (variance[[c]] + BatchNorm::EPSILON).sqrt();
        assert!((factor[c] - gamma[[c]] / deviation).abs() < 1e-3 * factor[c].abs());
        table += &format!(
            "| {c} | {w:.3} | {:.3} | {:.4} | {:.2} | {:.3} |\n",
            gamma[[c]],
            variance[[c]],
            factor[c],
            w * factor[c].abs()
        );
    }
    Ok(table)
}

/// The largest weight of each channel of a layer, in order, beside what 8 and 4 bits can tell from 0.
fn bars(network: &Network, site: &str) -> Result<String> {
    let mut largest = largest(network.layer(site).ok_or("no such layer")?);
    largest.sort_by(|a, b| b.total_cmp(a));
    let half_steps =
        [(8, 127.0), (4, 7.0), (2, 1.0)].map(|(bits, steps)| (bits, largest[0] / steps / 2.0));
    let title = format!(
        "Largest weight of each channel of {site}, and half a step of one scale for all at 8, 4 and 2 bits"
    );
    svg(&title, WIDTH, 330, |area| {
        let end = largest.len() as f64;
        let bottom = 0.01f64;
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(20)
            .x_label_area_size(46)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..end, (bottom..20.0f64).log_scale())?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("channels, by their largest weight")
            .y_desc("largest |weight|")
            .x_labels(0)
            .y_labels(5)
            .y_label_formatter(&|y| format!("{y}"))
            .label_style(font(16))
            .axis_style(INK)
            .draw()?;
        chart.draw_series(largest.iter().enumerate().map(|(i, &w)| {
            let (left, right) = (i as f64 + 0.15, i as f64 + 0.85);
            Rectangle::new(
                [(left, bottom), (right, f64::from(w).max(bottom))],
                SKY.filled(),
            )
        }))?;
        for (bits, half) in half_steps {
            let half = f64::from(half);
            let line = [(0.0, half), (end, half)];
            chart.draw_series(LineSeries::new(line, ORANGE.stroke_width(2)))?;
            let label = format!("half a step at {bits} bits");
            chart.draw_series([Text::new(
                label,
                (0.48 * end, half * 1.75),
                coloured(16, &ORANGE),
            )])?;
        }
        Ok(())
    })
}
