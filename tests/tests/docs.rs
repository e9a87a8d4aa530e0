//! What the documents say works as printed (the issue, "The repository"): commands are run, profiles are loaded, links lead
//! somewhere.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_tests::cli::Folder;
use tidegate_tests::foreign::run;
use tidegate_tests::gateway::binary;
use tidegate_tests::guests::{guest, workspace};
use tidegate_tests::wait::until_true;
use tidegate_tests::{Client, Gateway, Options, Version};

/// How lines begin that are not run here, and why.
const NOT_RUN: [(&str, &str); 5] = [
    ("make ", "is what runs this test, or builds what it needs"),
    ("rustup ", "changes the machine"),
    ("cargo build ", "builds what the test puts in its place"),
    ("tidegate events tail", "goes on for ever; in cli_events.rs"),
    ("alias ", "the test has the binary in its path"),
];

/// The code blocks of this language, in the order of the document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace(document)).unwrap();
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("\n```") {
        let (block, after) = after.split_once("\n```").unwrap();
        let (kind, block) = block.split_once('\n').unwrap_or((block, ""));
        if kind == language {
            blocks.push(block.to_owned());
        }
        rest = after;
    }
    assert!(!blocks.is_empty(), "{document} has no block of {language}");
    blocks
}

/// Runs lines of a document in the folder of this gateway. Nothing is put in another's place but ports.
fn type_lines(gateway: &Gateway, lines: &[&str]) -> String {
    let admin = gateway.api().url.trim_start_matches("http://").to_owned();
    let port = format!("-p {} ", gateway.address().port());
    let mut script =
        format!("set -e\ncd {}\nPATH={}:$PATH\n", gateway.path("").display(), binary().parent().unwrap().display());
    for line in lines {
        if !NOT_RUN.iter().any(|(beginning, _)| line.starts_with(beginning)) {
            script += &line.replace("127.0.0.1:8083", &admin).replace("-p 1883 ", &port);
            script += "\n";
        }
    }
    std::fs::write(gateway.path("script"), &script).unwrap();
    let did = run("sh", &[gateway.path("script").to_str().unwrap()]);
    assert_eq!(did.status, Some(0), "{script}\n{}", did.said);
    did.said
}

/// README.md, "Five minutes": every line, and the profile that changes how payloads are read.
#[test]
fn the_readme_works_as_printed() {
    let gateway = Gateway::start(Options::new().flag("--demo"));
    until_true("the demo device", || gateway.log().contains("Ctrl-C stops"));
    let token = gateway.cli(&["device", "credentials", "demo", "--json"]).json()["token"].as_str().unwrap().to_owned();
    // The line that the gateway prints is run in serve.rs; this is the one "like it", so only the token is another.
    let said: Vec<String> = blocks("README.md", "sh")
        .iter()
        .map(|block| {
            type_lines(&gateway, &block.replace("-u TOKEN ", &format!("-u {token} ")).lines().collect::<Vec<_>>())
        })
        .collect();
    let said = said.concat();
    for expected in
        ["received PUBACK", "temperature", "created boiler-7", "password: secret", "\"kind\":\"telemetry\"", "default"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(gateway.telemetry("demo"), [json!({ "temperature": 25.5, "humidity": 60, "status": "active" })]);

    let mut client = Client::connect(&gateway, Version::V5, &token);
    client.telemetry(1, "{\"n\":\"5\"}");
    let revision = || gateway.api().get("/api/v1/profiles").ok()[0]["revision"].clone();
    let before = revision();
    gateway.replace("profiles/default.toml", &blocks("README.md", "toml")[0]);
    until_true("the new rules", || revision() != before);
    client.telemetry(2, "{\"n\":\"5\"}");
    assert_eq!(gateway.telemetry("demo")[1..], [json!({ "n": 5 }), json!({ "n": "5" })]);
}

/// docs/events.md: the request, an answer of the same shape as the printed one, and the readers.
#[test]
fn reading_events_works_as_printed() {
    let gateway = Gateway::start(Options::new());
    Client::connect(&gateway, Version::V5, &gateway.device("demo")).telemetry(1, "{\"temperature\":25.5}");
    let blocks_of = blocks("docs/events.md", "sh");
    let page: Value = serde_json::from_str(&type_lines(&gateway, &blocks_of[0].lines().collect::<Vec<_>>())).unwrap();
    let printed: Value = serde_json::from_str(&blocks("docs/events.md", "json")[0]).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&page), keys(&printed));
    let event = page["events"].as_array().unwrap().iter().find(|event| event["kind"] == "telemetry").unwrap();
    assert_eq!(keys(event), keys(&printed["events"][0]));
    assert_eq!(keys(&event["samples"][0]), keys(&printed["events"][0]["samples"][0]));
    type_lines(&gateway, &blocks_of[1].lines().collect::<Vec<_>>());
    let cursors = gateway.api().get("/api/v1/cursors").ok();
    let seen: Vec<_> = cursors.as_array().unwrap().iter().map(|c| (&c["name"], &c["policy"])).collect();
    assert_eq!(seen, [(&json!("billing"), &json!("gap"))]);

    let text = std::fs::read_to_string(workspace("docs/events.md")).unwrap();
    for kind in ["telemetry", "client-attributes", "connected", "disconnected", "dead-letter"] {
        assert!(text.contains(&format!("`{kind}`")), "{kind} is not described");
        gateway.api().get(&format!("/api/v1/events?kind={kind}")).ok();
    }
}

/// docs/profiles.md: the profile that shows every key is a valid one.
#[test]
fn the_printed_profile_is_valid() {
    let folder = Folder::default();
    for block in blocks("docs/profiles.md", "toml") {
        folder.write("profiles/boiler/profile.toml", &block);
        folder.write("profiles/boiler/boiler.wasm", guest("quiet"));
        folder.write("profiles/boiler/boiler.proto", "syntax = \"proto3\";");
        let said = folder.cli(&["config", "check"]).ok();
        assert!(said.ends_with("# profiles: boiler, default\n"), "{said}");
    }
}

/// docs/plugins.md: from a plugin that was built to a device that uses it.
#[test]
fn installing_a_plugin_works_as_printed() {
    let gateway = Gateway::start(Options::new());
    let built = gateway.path("target/wasm32-unknown-unknown/release");
    std::fs::create_dir_all(&built).unwrap();
    std::fs::write(built.join("thermometer.wasm"), guest("quiet")).unwrap();
    let block = blocks("docs/plugins.md", "sh").remove(0);
    let lines: Vec<&str> = block.lines().collect();
    let (install, device) =
        lines.split_at(lines.iter().position(|line| line.starts_with("tidegate device add")).unwrap());
    assert!(type_lines(&gateway, install).contains("core module, wrapped at load"));
    until_true("the profile", || gateway.api().get("/api/v1/profiles").body.contains("\"thermometer\""));
    assert!(type_lines(&gateway, device).contains("created cellar"));
    assert_eq!(gateway.api().get("/api/v1/devices/cellar").ok()["profile"], "thermometer");
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let skipped =
        |path: &Path| path.file_name().is_some_and(|name| name == "target" || name.to_string_lossy().starts_with('.'));
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !skipped(path));
    entries
        .flat_map(|path| if path.is_dir() { documents(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// Every link between documents leads to a file that is there, and to a heading that is in it.
#[test]
fn links_lead_somewhere() {
    let documents = documents(&workspace(""));
    assert!(documents.len() > 8, "{documents:?}");
    let mut links = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", document.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap().to_lowercase();
                let found = text.lines().filter(|line| line.starts_with('#')).any(|line| {
                    line.trim_start_matches('#').trim().replace(' ', "-").replace([':', ',', '.', '`', '"'], "")
                        == heading
                });
                assert!(found, "{}: {link}", document.display());
            }
        }
    }
    assert!(links > 8, "{links}");
}

/// The map of ARCHITECTURE.md names folders that are there, and all crates of the workspace.
#[test]
fn the_map_shows_what_is_there() {
    let text = std::fs::read_to_string(workspace("ARCHITECTURE.md")).unwrap();
    let map = text.split("## Map").nth(1).unwrap().split("```").nth(1).unwrap();
    let named: Vec<&str> = map.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    for folder in &named {
        assert!(workspace(folder).is_dir(), "{folder}");
    }
    let manifest = std::fs::read_to_string(workspace("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let shown = named.iter().any(|folder| format!("{member}/").starts_with(folder));
        assert!(shown, "{member} is not on the map");
    }
}
