use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let company = |network, column| cell("ch07_company.md", network, column);
    let networks = ["digits", "mlp", "| cnn", "ds_cnn"];
    for network in networks {
        assert_eq!(company(network, 4), 0.0, "{network}: rows are independent");
        assert_eq!(company(network, 5), 0.0, "{network}: rows are independent");
    }
    say(format!(
        "{} of 250 for `ds_cnn`",
        word(company("ds_cnn", 2))
    ));
    let beside = |network, column| cell("ch07_outlier.md", network, column);
    for network in networks {
        let (others, images) = (beside(network, 2), beside(network, 1));
        let lost = |column| (others - beside(network, column)) / images;
        assert!(lost(3) < 0.03 && lost(5) < 0.03, "{network}");
    }
    let lost = networks.map(|network| beside(network, 2) - beside(network, 4));
    assert!(lost.iter().any(|lost| *lost > 50.0), "{lost:?}");
    let codes = |column| cell("ch07_steps.md", "codes for", column);
    assert_eq!([codes(4), codes(6)], [14.0, 2.0]);
    say("Fourteen levels of grey are enough to tell a shoe from a shirt. Two are not".to_owned());
    let at_16 = |column| cell("ch07_shift_ds_cnn.md", "| 16 |", column);
    say(format!(
        "Sixteen times as bright, the static network gets {} of 200 right, and f32 {}",
        at_16(2),
        at_16(1)
    ));
}
