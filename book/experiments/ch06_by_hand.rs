//! Chapter 6: a network of two layers in 4-bit integers, every number of it.

pub mod support;

use std::error::Error;

use fewer_bits::nn::{Activation, Layer, Linear, Network};
use fewer_bits::ptq::{Recipe, Static, weight_scheme};
use fewer_bits::{QParams, QRange, QTensor};
use ndarray::{ArrayD, array};
use support::{Evidence, Outcome};

pub fn main() -> Outcome {
    support::write(run)
}

pub fn run(evidence: &mut Evidence) -> Outcome {
    evidence.text("ch06_by_hand.md", table()?);
    Ok(())
}

/// Two inputs, two hidden units with ReLU, one output.
fn network() -> fewer_bits::Result<Network> {
    Network::new(
        &[2],
        [
            (
                "hidden",
                Layer::from(Linear::new(
                    array![[0.7, -0.3], [1.4, 0.4]],
                    array![0.05, -0.2],
                )?),
            ),
            ("relu", Activation::Relu.into()),
            (
                "out",
                Linear::new(array![[0.7, -0.5]], array![0.12])?.into(),
            ),
        ],
    )
}

/// A layer's codes, as the text writes them down: weights, biases, and the scales of both.
struct Codes {
    weights: Vec<i32>,
    bias: Vec<i32>,
    scales: Vec<f32>,
}

fn codes(layer: &Linear, x: QParams) -> Result<Codes, Box<dyn Error>> {
    let weight = QTensor::quantize(layer.weight().view().into_dyn(), weight_scheme(4, true)?)?;
    let scales: Vec<f32> = weight.params().iter().map(|pair| pair.scale()).collect();
    let bias = layer.bias().iter().zip(&scales);
    let bias = bias.map(|(b, s)| (b / (x.scale() * s)).round_ties_even() as i32);
    Ok(Codes {
        weights: weight.to_codes(),
        bias: bias.collect(),
        scales,
    })
}

fn table() -> Result<String, Box<dyn Error>> {
    let network = network()?;
    let mut recipe = Recipe {
        weights: weight_scheme(4, true)?,
        ..Recipe::default()
    };
    recipe.activations.range = QRange::U4;
    let calibration = array![[1.0, 0.75], [-0.5, -0.5]].into_dyn();
    let quantized = Static::new(&network, [calibration], recipe)?;
    let (x, y) = (quantized.input(), quantized.pairs()["relu"]);
    let [Some(Layer::Linear(hidden)), Some(Layer::Linear(out))] =
        ["hidden", "out"].map(|name| network.layer(name))
    else {
        return Err("the network has other layers".into());
    };
    let (hidden, out) = (codes(hidden, x)?, codes(out, y)?);

    let inputs = [[0.93f32, -0.28], [0.2, 0.9]];
    let mut rows = vec![String::new(); 10];
    for input in inputs {
        let float: ArrayD<f32> = array![input].into_dyn();
        let steps: Vec<i32> = input
            .iter()
            .map(|x_i| x.quantize(*x_i).map(|q| q - x.zero_point()))
            .collect::<Result<_, _>>()?;
        let mut cells = vec![
            format!("{}, {}", input[0], input[1]),
            format!(
                "{}, {}",
                steps[0] + x.zero_point(),
                steps[1] + x.zero_point()
            ),
            format!("{}, {}", steps[0], steps[1]),
        ];
        let mut h = Vec::new();
        let (mut sums, mut times) = (Vec::new(), Vec::new());
        for j in 0..2 {
            let w = &hidden.weights[2 * j..];
            let sum = w[0] * steps[0] + w[1] * steps[1] + hidden.bias[j];
            let m = x.scale() * hidden.scales[j] / y.scale();
            let code = (sum as f32 * m).round_ties_even() as i32;
            sums.push(format!("{sum}"));
            times.push(format!("{:.1}", sum as f32 * m));
            h.push(code.clamp(0, 15));
        }
        cells.push(sums.join(", "));
        cells.push(times.join(", "));
        cells.push(format!("{}, {}", h[0], h[1]));
        let sum = out.weights[0] * h[0] + out.weights[1] * h[1] + out.bias[0];
        let logit = sum as f32 * y.scale() * out.scales[0];
        cells.push(format!("{sum}"));
        cells.push(format!("{logit:.2}"));
        let found = quantized.forward(float.view())?[[0, 0]];
        if (found - logit).abs() > 1e-6 {
            return Err(format!("the crate says {found}, the hand {logit}").into());
        }
        cells.push(format!("{:.2}", network.forward(float.view())?[[0, 0]]));
        for (row, cell) in rows.iter_mut().zip(cells) {
            *row += &format!(" {} |", cell.replace('-', "−"));
        }
    }
    let names = [
        "input",
        "codes",
        "codes − 5",
        "sums with bias",
        "times $m$",
        "codes after ReLU",
        "sum with bias",
        "times 0.01",
        "in f32",
    ];
    let mut table = String::from("| | first | second |\n|:--|--:|--:|\n");
    for (name, row) in names.iter().zip(rows) {
        table += &format!("| {name} |{row}\n");
    }
    Ok(table)
}
