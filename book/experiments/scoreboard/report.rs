//! What was measured, as tables and as JSON.

use fewer_bits::Isa;
use serde_json::{Value, json};

use super::bench::limits::Kind;
use super::bench::ours;
use super::rounds::Board;
use super::rows::{Row, f32_limit};
use super::support;

const SHAPES: [&str; 5] = [
    "512x512x512",
    "1024x1024x1024",
    "2048x2048x2048",
    "128x384x1536",
    "8x1024x1024",
];
const ONE_ROW: &str = "1x4096x4096";
const US: &str = "fewer-bits";
const US_AVX2: &str = "fewer-bits (avx2)";
const US_VNNI: &str = "fewer-bits (avx512vnni)";

/// The instruction set of the rows named "fewer-bits".
fn isa() -> Isa {
    let kernels = ours::kernels().unwrap_or_default();
    kernels.first().map_or(Isa::Portable, |kernel| kernel.isa())
}

/// The arithmetic limit of that instruction set; of plain Rust, that of the widest one.
fn int8_limit(board: &Board) -> f64 {
    let own = board.limit(Kind::Int8(isa()));
    let any = Isa::ALL
        .into_iter()
        .find_map(|i| board.limit(Kind::Int8(i)));
    own.or(any).unwrap_or(f64::NAN)
}

pub fn json(board: &Board) -> Value {
    let limit = |kind| board.limit(kind).unwrap_or(f64::NAN);
    let rows: Vec<Value> = board
        .rows
        .iter()
        .map(|row| {
            json!({
                "op": row.op,
                "shape": row.shape,
                "threads": row.threads,
                "who": row.who,
                "median_ns": row.median() * 1e9,
                "gops": row.gops(),
                "exact": row.exact,
            })
        })
        .collect();
    json!({
        "machine": support::machine(),
        "isa": isa().name(),
        "limits": {
            "int8_gops": int8_limit(board),
            "f32_gflops": limit(f32_limit()),
            "read_gbs": limit(Kind::Read),
            "copy_gbs": limit(Kind::Copy),
        },
        "rows": rows,
    })
}

/// Every row, for the eye.
pub fn everything(board: &Board) -> String {
    let mut text = format!("{}; {} rounds\n", support::machine(), board.rounds);
    for (kind, _) in &board.limits {
        let rate = board.limit(*kind).unwrap_or(f64::NAN);
        text += &format!("{:42} {rate:8.1} {}\n", kind.name(), kind.unit());
    }
    for row in &board.rows {
        text += &format!(
            "{:16} {:15} {} {:26} {:10.1} µs {:7.1} GOP/s {:>5} {}\n",
            row.op,
            row.shape,
            row.threads,
            row.who,
            row.median() * 1e6,
            row.gops(),
            share(board, Some(row)),
            if row.exact { "exact" } else { "" },
        );
    }
    text
}

pub fn limits(board: &Board) -> String {
    let mut text = "| one core | at most |\n|:--|--:|\n".to_owned();
    for (kind, _) in &board.limits {
        let rate = board.limit(*kind).unwrap_or(f64::NAN);
        text += &format!("| {} | {rate:.1} {} |\n", kind.name(), kind.unit());
    }
    text + &machine(board)
}

pub fn int8(board: &Board) -> String {
    let mut text = format!(
        "| M×K×N | {US} | of the limit | W4A8 | rten-gemm | fastest f32 |\n\
         |:--|--:|--:|--:|--:|--:|\n"
    );
    for shape in SHAPES {
        let row = |op, who| board.row(op, shape, 1, who);
        let own = row("gemm_u8i8", US);
        let peer = peer(board, shape);
        text += &format!(
            "| {} | **{}** | {} | {} | {}{} | {} |\n",
            shape.replace('x', "×"),
            gops(own),
            share(board, own),
            gops(row("gemm_w4a8", US)),
            gops(peer),
            peer.map_or("", |p| if p.exact { "" } else { " (not exact)" }),
            fastest_f32(board, shape),
        );
    }
    text + &format!("\nGOP/s on one thread, {}.", isa()) + &machine(board)
}

/// The same with AVX2 alone, on both kinds of weights.
pub fn avx2(board: &Board) -> String {
    let mut text = "| M×K×N | normal weights | of the limit | worst weights | of the limit |\n\
                    |:--|--:|--:|--:|--:|\n"
        .to_owned();
    let who = if isa() == Isa::Avx2 { US } else { US_AVX2 };
    for shape in SHAPES {
        let [normal, worst] =
            ["gemm_u8i8", "gemm_u8i8_worst"].map(|op| board.row(op, shape, 1, who));
        text += &format!(
            "| {} | {} | {} | {} | {} |\n",
            shape.replace('x', "×"),
            gops(normal),
            share(board, normal),
            gops(worst),
            share(board, worst),
        );
    }
    text + "\nGOP/s on one thread, avx2." + &machine(board)
}

/// AMX beside the instructions that a CPU with AMX has, too; nothing on others.
pub fn amx(board: &Board) -> Option<String> {
    if isa() != Isa::Amx {
        return None;
    }
    let mut text =
        "| M×K×N | AMX | of its limit | AVX-512 VNNI | AVX2 | rten-gemm | fastest f32 |\n\
                    |:--|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for shape in SHAPES {
        let row = |who| board.row("gemm_u8i8", shape, 1, who);
        text += &format!(
            "| {} | **{}** | {} | {} | {} | {} | {} |\n",
            shape.replace('x', "×"),
            gops(row(US)),
            share(board, row(US)),
            gops(row(US_VNNI)),
            gops(row(US_AVX2)),
            gops(peer(board, shape)),
            fastest_f32(board, shape),
        );
    }
    text += "\nGOP/s on one thread.";
    let limits = [Isa::Amx, Isa::Avx512Vnni]
        .map(|isa| [Kind::Int8(isa), Kind::Int4(isa)].map(|kind| board.limit(kind)));
    let w4a8 = [US, US_VNNI].map(|who| board.row("gemm_w4a8", "1024x1024x1024", 1, who));
    if let ([[Some(tiles8), Some(tiles4)], [Some(vnni8), Some(vnni4)]], [tiles, vnni]) =
        (limits, w4a8)
    {
        text += &format!(
            " With 4-bit weights in groups of 64, 1024×1024×1024 reaches {} by tiles and {} by VNNI. \
             What each group needs at its end lowers the limit of tiles from {tiles8:.0} to {tiles4:.0}, \
             and that of `vpdpbusd` from {vnni8:.0} to {vnni4:.0}.",
            gops(tiles),
            gops(vnni),
        );
    }
    Some(text + "\n" + &machine(board))
}

pub fn more(board: &Board) -> String {
    let mut text =
        "| what | size | time | reached | of the limit |\n|:--|:--|--:|--:|--:|\n".to_owned();
    for (name, op, shape) in [
        ("one row, weights from memory", "gemv_u8i8", ONE_ROW),
        (
            "one row, the same weights again",
            "gemv_u8i8_again",
            ONE_ROW,
        ),
        (
            "linear layer, f32 in and out",
            "linear_fused",
            "128x384x1536",
        ),
        ("quantize f32 → u8", "quantize", "16777216"),
        ("dequantize u8 → f32", "dequantize", "16777216"),
        ("min-max of f32", "min_max", "16777216"),
    ] {
        let Some(row) = board.row(op, shape, 1, US) else {
            continue;
        };
        let reached = match op {
            "linear_fused" => format!("{:.0} GOP/s", row.gops()),
            _ => format!("{:.1} GB/s", row.bytes / row.median() / 1e9),
        };
        let size = match shape {
            "16777216" => "16 Mi".to_owned(),
            _ => shape.replace('x', "×"),
        };
        text += &format!(
            "| {name} | {size} | {:.2} ms | {reached} | {} |\n",
            row.median() * 1e3,
            share(board, Some(row)),
        );
    }
    let f32_row = fastest(board, ONE_ROW);
    let own = board.row("gemv_u8i8", ONE_ROW, 1, US);
    if let (Some(float), Some(own)) = (f32_row, own) {
        let (m, r) = (float.median() * 1e3, float.median() / own.median());
        text += &format!(
            "\nThe same row in f32 takes {} {m:.2} ms, {r:.1} × as long.",
            float.who
        );
    }
    let gemm = board.row("gemm_u8i8", "128x384x1536", 1, US);
    let layer = board.row("linear_fused", "128x384x1536", 1, US);
    if let (Some(gemm), Some(layer)) = (gemm, layer) {
        let r = layer.median() / gemm.median();
        text += &format!(" The linear layer takes {r:.2} × the time of its product alone.");
    }
    text + "\n" + &machine(board)
}

pub fn threads(board: &Board) -> String {
    if board.disturbed > 0.05 {
        let percent = 100.0 * board.disturbed;
        return format!(
            "Other programs took {percent:.0} % of a core while this was measured, so there is nothing to say about two.\n"
        ) + &machine(board);
    }
    let mut text = "| M×K×N | 1 thread | 2 threads | faster by |\n|:--|--:|--:|--:|\n".to_owned();
    for shape in SHAPES {
        let [one, two] = [1, 2].map(|threads| board.row("gemm_u8i8", shape, threads, US));
        if let (Some(one), Some(two)) = (one, two) {
            text += &format!(
                "| {} | {:.0} | {:.0} | {:.2} × |\n",
                shape.replace('x', "×"),
                one.gops(),
                two.gops(),
                one.median() / two.median()
            );
        }
    }
    text + "\nGOP/s, u8 × i8." + &machine(board)
}

fn peer<'a>(board: &'a Board, shape: &str) -> Option<&'a Row> {
    board.rows.iter().find(|r| {
        r.op == "gemm_u8i8" && r.shape == shape && r.threads == 1 && r.who.starts_with("rten")
    })
}

fn fastest<'a>(board: &'a Board, shape: &str) -> Option<&'a Row> {
    let rows = board.rows.iter();
    rows.filter(|r| r.op == "gemm_f32" && r.shape == shape && r.threads == 1)
        .min_by(|a, b| a.median().total_cmp(&b.median()))
}

fn fastest_f32(board: &Board, shape: &str) -> String {
    let found = fastest(board, shape);
    found.map_or("–".to_owned(), |row| {
        format!("{:.0} ({})", row.gops(), row.who)
    })
}

fn gops(row: Option<&Row>) -> String {
    row.map_or("–".to_owned(), |row| format!("{:.0}", row.gops()))
}

fn share(board: &Board, row: Option<&Row>) -> String {
    let share = row.and_then(|row| board.share(row));
    share.map_or("–".to_owned(), |share| format!("{share:.2}"))
}

fn machine(board: &Board) -> String {
    format!(
        "\nMedians of {} interleaved rounds on a shared {}; other programs had the core for {:.0} % of the time, which is not counted.\n",
        board.rounds,
        support::machine(),
        100.0 * board.disturbed
    )
}
