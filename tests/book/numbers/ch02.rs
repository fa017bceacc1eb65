use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let sqnr = |scheme| cell("ch02_schemes.md", scheme, 2);
    let (tensor, channel) = (sqnr("INT8, per tensor"), sqnr("INT8, per row"));
    let gain = channel - tensor;
    say(format!(
        "each row INT8 gains {gain:.1} dB, more than two bits"
    ));
    let narrow = sqnr("INT4, per row");
    say(format!("{channel:.1} against {narrow:.1} dB"));
    let gain = sqnr("E4M3, per row") - sqnr("E4M3, per tensor");
    say(format!("E4M3 gains only {gain:.1} dB"));
    let lost = cell("ch02_schemes.md", "INT4, per tensor", 4);
    say(format!("with one scale, {lost} of the 64 outputs are gone"));
    let column = sqnr("INT8, per column");
    say(format!(
        "INT8 per tensor {tensor}, per column {column}, per row {channel}"
    ));
    assert!(sqnr("E4M3, per tensor") > tensor && sqnr("NF4") > sqnr("INT4, groups of 32"));
}
