//! A module of the crate imports only from floors below its own, as `CONTRIBUTING.md` lists them.

use crate::source::{files, root};
use std::collections::BTreeMap;

/// The floor of each module, from the rows `| 2 | `a`, `b` | … |` of the list.
fn floors(text: &str) -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (Some(Ok(floor)), Some(modules)) = (cells.next().map(str::parse), cells.next()) else {
            continue;
        };
        for module in modules.split('`').skip(1).step_by(2) {
            floors.insert(module.to_owned(), floor);
        }
    }
    floors
}

/// The module that a file of the crate belongs to.
fn module(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.split(['/', '.']).next().unwrap_or(path)
}

/// The lines of a file that reach above its floor or into another module of it.
fn check(path: &str, text: &str, floors: &BTreeMap<String, u32>) -> Vec<String> {
    let own = module(path);
    let Some(floor) = floors.get(own) else {
        return vec![format!("{path}: `{own}` is on no floor")];
    };
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line));
    let names = code
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        });
    names
        .filter(|name| *name != own && floors.get(*name).is_none_or(|other| other >= floor))
        .map(|name| format!("{path}: floor {floor} imports from `{name}`"))
        .collect()
}

#[test]
fn no_module_imports_from_its_own_floor_or_above() {
    let list = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let floors = floors(&list);
    let mut problems = Vec::new();
    for path in files(&root(), "src", &[".rs"]) {
        if path != "src/lib.rs" && path != "src/main.rs" {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            problems.extend(check(&path, &text, &floors));
        }
    }
    assert!(floors.len() > 5);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_broken_sample_is_noticed() {
    let floors = floors(
        "| floor | modules |\n|:--|:--|\n| 0 | `error` |\n| 1 | `a`, `b` | x |\n| 2 | `c` |\n",
    );
    assert_eq!(floors.len(), 4);
    let problems = |path, text| check(path, text, &floors).len();
    assert_eq!(
        problems("src/a/x.rs", "use crate::error::Error;\nuse crate::a::y;"),
        0
    );
    assert_eq!(problems("src/a.rs", "//! See [`c`](crate::c)."), 0);
    assert_eq!(problems("src/a.rs", "use crate::b::f;"), 1);
    assert_eq!(problems("src/a.rs", "crate::c::f(); crate::error::g();"), 1);
    assert_eq!(problems("src/a.rs", "use crate::{QParams, b};"), 1);
    assert_eq!(problems("src/d.rs", ""), 1);
}
