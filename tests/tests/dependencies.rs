//! Who may use whom (design §2), and what ARCHITECTURE.md says is absent.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_tests::guests::workspace;

/// Our crates, each with those of ours that it may use, whatever for but tests.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("tidegate", &["tidegate-platform", "tidegate-plugin-host", "tidegate-mqtt", "tidegate-model"]),
    ("tidegate-platform", &["tidegate-proto", "tidegate-model"]),
    ("tidegate-plugin-host", &["tidegate-model"]),
    ("tidegate-mqtt", &["tidegate-model"]),
    ("tidegate-model", &[]),
    ("tidegate-proto", &["tidegate-model"]),
    // Guest code never depends on host code.
    ("tidegate-plugin", &[]),
    ("tidegate-json", &["tidegate-plugin"]),
    ("tidegate-tests", &["tidegate-platform", "tidegate-plugin-host", "tidegate-mqtt", "tidegate-model"]),
];

/// What only some crates may name in their manifest: the beginning of the package's name, and who.
const ONLY: [(&str, &[&str]); 14] = [
    ("wasmtime", &["tidegate-plugin-host"]),
    ("rustls", &["tidegate"]),
    ("tokio-rustls", &["tidegate"]),
    ("sqlx", &["tidegate-platform"]),
    ("rusqlite", &["tidegate-platform"]),
    ("async-nats", &["tidegate-platform"]),
    ("rdkafka", &["tidegate-platform"]),
    ("prost", &["tidegate-proto"]),
    ("mqttbytes", &["tidegate-mqtt"]),
    ("axum", &["tidegate"]),
    ("clap", &["tidegate", "tidegate-tests"]),
    ("anyhow", &["tidegate", "tidegate-tests"]),
    // The plugin host only asks whether a value that a guest calls JSON is.
    ("serde_json", &["tidegate", "tidegate-platform", "tidegate-plugin-host", "tidegate-tests"]),
    ("wit-bindgen", &["tidegate-plugin"]),
];

struct Packages {
    /// Our packages: name to folder and the names of direct dependencies but those of tests.
    ours: BTreeMap<String, (PathBuf, Vec<String>)>,
    /// Every package by id: its name, and the ids it uses normally.
    graph: BTreeMap<String, (String, Vec<String>)>,
}

impl Packages {
    fn read() -> Self {
        let manifest = workspace("Cargo.toml");
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["metadata", "--format-version=1", "--offline", "--locked", "--manifest-path"]).arg(manifest);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let members = list(&metadata["workspace_members"]);
        let is_dev = |dependency: &Value| dependency["kind"] == "dev";
        let ours = list(&metadata["packages"]).into_iter().filter(|package| members.contains(&package["id"]));
        let ours = ours.map(|package| {
            let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
            let direct = list(&package["dependencies"]).into_iter().filter(|dependency| !is_dev(dependency));
            (text(&package["name"]), (folder, direct.map(|dependency| text(&dependency["name"])).collect()))
        });
        let names: BTreeMap<String, String> =
            list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let graph = list(&metadata["resolve"]["nodes"]).into_iter().map(|node| {
            let normal =
                list(&node["deps"]).into_iter().filter(|d| list(&d["dep_kinds"]).iter().any(|k| k["kind"].is_null()));
            let id = text(&node["id"]);
            (id.clone(), (names[&id].clone(), normal.map(|dependency| text(&dependency["pkg"])).collect()))
        });
        Self { ours: ours.collect(), graph: graph.collect() }
    }

    /// The names of everything that this package is linked with.
    fn linked(&self, name: &str) -> BTreeSet<&str> {
        let mut left: Vec<&String> = self.graph.iter().filter(|(_, (own, _))| own == name).map(|(id, _)| id).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = left.pop() {
            if seen.insert(id) {
                left.extend(&self.graph[id].1);
            }
        }
        seen.into_iter().map(|id| self.graph[id].0.as_str()).collect()
    }
}

/// Design §2, "Who may use whom"; ARCHITECTURE.md says that this test checks it.
#[test]
fn who_may_use_whom() {
    let packages = Packages::read();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = packages.ours.keys().map(String::as_str).collect();
    assert_eq!(found, known, "every crate has a row");
    for (name, allowed) in MAY_USE {
        let direct = &packages.ours[name].1;
        let used: Vec<_> = direct.iter().filter(|used| known.contains(used.as_str())).collect();
        let wrong: Vec<_> = used.iter().filter(|used| !allowed.contains(&used.as_str())).collect();
        assert!(wrong.is_empty(), "{name} uses {wrong:?}");
    }
    for (library, allowed) in ONLY {
        for (name, (_, direct)) in &packages.ours {
            let uses = direct.iter().any(|used| used == library || used.starts_with(&format!("{library}-")));
            assert!(!uses || allowed.contains(&name.as_str()), "{name} uses {library}");
        }
    }
}

/// ARCHITECTURE.md: no wasmtime outside `host/plugins`, no SQL outside `host/platform`, no Protobuf outside `proto`; no
/// runtime in `host/mqtt` and in `host/model`; not even by way of another crate.
#[test]
fn what_is_linked_with_what() {
    let packages = Packages::read();
    let rows: [(&str, &[&str]); 6] = [
        ("tidegate-model", &["tokio", "serde", "wasmtime", "sqlx", "prost"]),
        ("tidegate-mqtt", &["tokio", "mio", "socket2", "async-std", "wasmtime", "sqlx", "prost", "serde_json"]),
        ("tidegate-plugin-host", &["sqlx", "libsqlite3-sys", "prost", "mqttbytes", "axum", "hyper"]),
        ("tidegate-platform", &["wasmtime", "mqttbytes", "axum", "hyper"]),
        ("tidegate-proto", &["tokio", "wasmtime", "sqlx"]),
        (
            "tidegate-json",
            &[
                "tidegate-model",
                "tidegate-mqtt",
                "tidegate-platform",
                "tidegate-plugin-host",
                "tidegate",
                "tokio",
                "wasmtime",
            ],
        ),
    ];
    for (name, forbidden) in rows {
        let linked = packages.linked(name);
        assert!(linked.len() > usize::from(name != "tidegate-model"), "{name}: {linked:?}");
        let wrong: Vec<_> = forbidden.iter().filter(|package| linked.contains(**package)).collect();
        assert!(wrong.is_empty(), "{name} is linked with {wrong:?}");
    }
    // The whole gateway: the search does find things.
    let gateway = packages.linked("tidegate");
    for expected in ["wasmtime", "sqlx", "prost", "mqttbytes", "axum", "tokio"] {
        assert!(gateway.contains(expected), "{expected}");
    }
    assert!(!gateway.contains("tidegate-json") && !gateway.contains("tidegate-plugin"), "no native short cut for JSON");
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), std::fs::read_to_string(path).unwrap()));
        }
    }
    found
}

/// What runs, without tests and comments.
fn code(source: &str) -> String {
    let before_tests = source.split("\n#[cfg(test)]").next().unwrap();
    let lines = before_tests.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// ARCHITECTURE.md: what the source of a crate does not say.
#[test]
fn what_is_absent_from_the_source() {
    let rows: [(&str, &[&str]); 5] = [
        ("model", &["std::net", "std::fs", "std::io", "std::thread", "Instant::now", "SystemTime::now"]),
        ("mqtt", &["std::net::Tcp", "std::fs", "std::thread", "Instant::now", "SystemTime::now", "tokio", "sparkplug"]),
        ("plugins", &["sqlx", "prost::", "sparkplug"]),
        ("platform", &["wasmtime", "sparkplug"]),
        (
            "gateway",
            &["wasmtime", "sqlx", "prost::", "rusqlite", "sparkplug", "unbounded_channel", "std::sync::mpsc::channel"],
        ),
    ];
    for (name, absent) in rows {
        let sources = sources(&workspace("host").join(name).join("src"));
        assert!(!sources.is_empty());
        for (path, source) in sources {
            let code = code(&source).to_lowercase();
            for word in absent {
                assert!(!code.contains(&word.to_lowercase()), "{}: {word}", path.display());
            }
        }
    }
    for name in ["model", "mqtt", "plugins", "platform", "gateway"] {
        for (path, source) in sources(&workspace("host").join(name).join("src")) {
            let code = code(&source);
            for word in ["unbounded_channel", "todo!(", "unimplemented!(", "dbg!("] {
                assert!(!code.contains(word), "{}: {word}", path.display());
            }
        }
    }
}

/// ARCHITECTURE.md: no unsafe code; each crate root forbids it. The guest SDK's bindings are the exception.
#[test]
fn unsafe_code_is_forbidden() {
    let packages = Packages::read();
    let exceptions = ["tidegate-plugin", "tidegate-json"];
    for (name, (folder, _)) in &packages.ours {
        let roots: Vec<_> = sources(folder)
            .into_iter()
            .filter(|(path, _)| {
                path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") || path.ends_with("load/main.rs")
            })
            .collect();
        assert!(!roots.is_empty(), "{name}");
        for (path, source) in roots {
            let forbids = source.lines().any(|line| line == "#![forbid(unsafe_code)]");
            assert_eq!(forbids, !exceptions.contains(&name.as_str()), "{}", path.display());
        }
        if !exceptions.contains(&name.as_str()) {
            for (path, source) in sources(&folder.join("src")) {
                assert!(!code(&source).contains("unsafe {"), "{}", path.display());
            }
        }
    }
}

/// The project stands alone and says what it is: versions, lints and licences come from one place.
#[test]
fn crates_share_versions_and_lints() {
    for (name, (folder, _)) in Packages::read().ours {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for line in [
            "version.workspace = true",
            "edition.workspace = true",
            "license.workspace = true",
            "[lints]\nworkspace = true",
        ] {
            assert!(manifest.contains(line), "{name}: {line}");
        }
    }
}
