use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let steps = rows("ch08_by_hand.md", "| 0.");
    let rounded = |steps: &[Vec<String>]| steps.iter().filter(|row| row[2] == "1").count();
    // The circle: from the third step to the seventh, and then the third again.
    assert_eq!(steps[2][1..], steps[7][1..]);
    let (up, all) = (rounded(&steps[2..7]), 5);
    say(format!(
        "{} steps with 1, {} step with 0",
        word(up as f64),
        word((all - up) as f64)
    ));
    assert_eq!(up as f64 / all as f64, 0.8);

    let full = |network: &str, kind: &str, column: usize| {
        let rows = rows("ch08_full.md", kind);
        let row = rows.iter().find(|row| row[0].starts_with(network)).unwrap();
        row[column].parse::<f64>().unwrap()
    };
    let (float, eight, four, three, two, both) = (2, 3, 4, 5, 6, 7);
    let networks = ["digits,", "mlp,", "cnn,", "ds_cnn,"];
    let changes = networks.map(|n| full(n, "trained", eight) - full(n, "min-max", eight));
    assert!(changes.iter().any(|c| *c > 0.0) && changes.iter().any(|c| *c < 0.0));
    let most = changes.iter().fold(0f64, |m, c| m.max(c.abs()));
    say(format!(
        "the changes go both ways and are {most:.2} points at most"
    ));
    for network in &networks[1..] {
        let lost = |column| full(network, "trained", float) - full(network, "trained", column);
        assert!(lost(four) <= 0.4, "{network}");
        assert!(lost(both) > lost(four) + 0.4, "{network}");
        let won = full(network, "trained", two) - full(network, "min-max", two);
        assert!(won > 10.0, "{network}");
    }
    let lost = |network| full(network, "trained", float) - full(network, "trained", two);
    assert!((0.45..0.6).contains(&lost("mlp,")) && (9.5..10.5).contains(&lost("ds_cnn,")));
    assert!(
        ["cnn,", "digits,"]
            .iter()
            .all(|network| (1.0..2.0).contains(&lost(network)))
    );
    let guessing = full("mlp,", "min-max", two);
    say(format!("where min-max leaves {guessing:.2} %"));
    let (before, after) = (
        full("ds_cnn,", "min-max", three),
        full("ds_cnn,", "fitted", three),
    );
    say(format!("they turn {before:.2} % into {after:.2} %"));
    for network in ["mlp,", "cnn,"] {
        assert!(full(network, "fitted", two) - full(network, "min-max", two) > 30.0);
    }

    let others = |column| cell("ch08_other_pairs.md", "mlp", column);
    say(format!(
        "`mlp` loses {} images of 500",
        others(1) - others(2)
    ));
    assert!(
        cell("ch08_other_pairs.md", "digits", 1) - cell("ch08_other_pairs.md", "digits", 2) <= 2.0
    );
    let bytes = |network| cell("ch08_bytes.md", network, 5);
    let split = |bytes: f64| format!("{} {:03}", (bytes / 1000.0).floor(), bytes % 1000.0);
    say(format!("so 1 616 of {} bytes", split(bytes("mlp"))));
    say(format!("2 768 bytes of {}", split(bytes("ds_cnn"))));
}
