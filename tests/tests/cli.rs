//! The command line as a person types it (design §7): help, exit status, commands that need no gateway, and how the others
//! find theirs.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::json;
use tidegate_tests::cli::Folder;
use tidegate_tests::guests::{component, guest};
use tidegate_tests::{Gateway, Options};

/// Every command by its words, and what its help says of it.
const COMMANDS: [(&str, &str); 23] = [
    ("", "A device gateway whose payload formats are sandboxed WebAssembly plugins"),
    ("serve", "Run a gateway"),
    ("config", "Settings"),
    ("config check", "Check settings, profiles and plugins as `serve` would, and print the settings in force"),
    ("device", "Devices of the running gateway"),
    ("device add", "Create a device; prints its credentials"),
    ("device list", "List devices"),
    ("device show", "Show a device, its connection and its values"),
    ("device set", "Change name, profile or gateway flag"),
    ("device rm", "Delete a device with everything that is known of it"),
    ("device credentials", "Show what a device has to present, or replace it"),
    ("events", "Events of the running gateway"),
    ("events tail", "Follow events as they come"),
    ("events read", "Print events that are stored"),
    ("events readers", "List the readers that are registered, and how far they have come"),
    ("events forget", "Forget a reader; what was kept for it may go"),
    ("plugin", "Plugins"),
    ("plugin check", "Load a plugin as the gateway would, and say what it is or what is wrong with it"),
    ("profile", "Profiles of the running gateway"),
    ("profile list", "List profiles, with what is wrong with them"),
    ("session", "Sessions of the running gateway"),
    ("session list", "List sessions"),
    ("rekey", "Replace the key with which credentials are encrypted, while the gateway is stopped"),
];

/// Design §7: nobody has to read the source. Every command that a help names has one of its own, which says what it does
/// and what each of its options means.
#[test]
fn help_says_what_every_command_does() {
    let folder = Folder::default();
    let mut left: Vec<String> = vec![String::new()];
    let mut seen = Vec::new();
    while let Some(command) = left.pop() {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = folder.cli(&words).ok();
        let about =
            COMMANDS.iter().find(|(name, _)| *name == command).map_or("Close the session of a device", |row| row.1);
        assert!(help.starts_with(about), "{command}: {help}");
        let section = |title: &str| help.split(title).nth(1).map(|rest| rest.split("\n\n").next().unwrap_or_default());
        for option in section("\nOptions:\n").unwrap().split("\n      --").skip(1) {
            assert!(option.split_once("  ").is_some_and(|(_, text)| text.trim().len() > 5), "{command}: {option}");
        }
        for line in section("\nCommands:\n").into_iter().flat_map(str::lines) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" {
                left.push(format!("{command} {name}").trim().to_owned());
            }
        }
        seen.push(command);
    }
    let missing: Vec<_> = COMMANDS.iter().filter(|(name, _)| !seen.iter().any(|seen| seen == name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(seen.len(), COMMANDS.len() + 1, "{seen:?}");
    assert!(folder.cli(&["--version"]).ok().starts_with("tidegate "));
}

/// Exit status 2: the command line was not understood, and it says what was expected.
#[test]
fn what_is_not_understood_ends_with_2() {
    let folder = Folder::default();
    let rows: [(&[&str], &str); 10] = [
        (&[], "Usage: tidegate [OPTIONS] <COMMAND>"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (&["device", "add"], "<NAME>"),
        (&["device", "list", "--speed"], "unexpected argument '--speed'"),
        (&["device", "add", "d", "--token", "t", "--password", "p"], "cannot be used with"),
        (&["device", "show", ""], "a value is required"),
        (&["device", "set", "d", "--gateway", "perhaps"], "perhaps"),
        (&["events", "read", "--hold"], "--reader <NAME>"),
        (&["events", "read", "--limit", "many"], "'many'"),
        (&["plugin", "check"], "<FILE>"),
    ];
    for (arguments, expected) in rows {
        let said = folder.cli(arguments);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{arguments:?}: {}", said.stderr);
    }
}

/// `config check`: what it prints is a settings file that says the same; profiles are checked with it.
#[test]
fn config_check() {
    let folder = Folder::default();
    let printed = folder.cli(&["config", "check", "--set", "workers=3"]).ok();
    assert!(printed.ends_with("\n# profiles: default\n"), "{printed}");
    folder.write("tidegate.toml", &printed);
    assert_eq!(folder.cli(&["config", "check"]).ok(), printed);
    let settings = folder.cli(&["config", "check", "--json"]).json();
    assert_eq!((&settings["workers"], &settings["admin"]["bind"]), (&json!(3), &json!("127.0.0.1:8083")));
    assert!(!folder.path("data").exists(), "a check leaves nothing behind");

    folder.write("profiles/good.toml", "telemetry_topic = \"a\"");
    folder.write("profiles/bad.toml", "\nspeed = 1");
    folder.write("profiles/lost.toml", "converter = \"nowhere\"");
    let said = folder.cli(&["config", "check"]);
    assert!(said.stdout.ends_with("# profiles: default, good\n"), "{}", said.stdout);
    let said = said.failed();
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("tidegate: profile \"bad\": profiles/bad.toml:2: speed: unknown key"), "{said}");
    assert!(lines[1].starts_with("tidegate: profile \"lost\": plugin \"nowhere\": plugins/nowhere.wasm: "), "{said}");
    assert_eq!(lines[2], "tidegate: 2 of the profiles cannot be used");
}

/// `plugin check`: every kind of file, good or bad, and the exit status.
#[test]
fn plugin_check() {
    let folder = Folder::default();
    let module = guest("quiet");
    folder.write("module.wasm", &module);
    folder.write("component.wasm", component(&module));
    let wasi = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#;
    folder.write("imports.wasm", wat::parse_str(wasi).unwrap());
    let wasi = r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func (result u64)))))
        (instance $empty) (export "tidegate:plugin/conversion@0.1.0-draft" (instance $empty)))"#;
    folder.write("clock.wasm", wat::parse_str(wasi).unwrap());
    folder.write("garbage.wasm", "garbage");
    folder.write("empty.wasm", "");
    folder.write("nothing.wasm", wat::parse_str("(module)").unwrap());
    folder.write("cut.wasm", &module[..module.len() / 2]);
    folder.write("refuses.wasm", guest("refuse"));
    folder.write("traps.wasm", guest("trap-in-configure"));

    for (file, kind) in [
        ("plugins/json", "core module, wrapped at load"),
        ("module", "core module, wrapped at load"),
        ("component", "component"),
    ] {
        let file = format!("{file}.wasm");
        let table = folder.cli(&["plugin", "check", &file]).ok();
        for part in ["version", "contract", "world converter", kind, "operations", "telemetry"] {
            assert!(table.contains(part), "{file}: {part}: {table}");
        }
        let shown = folder.cli(&["plugin", "check", &file, "--json"]).json();
        assert_eq!(shown["kind"], if kind == "component" { "component" } else { "core-module" }, "{shown}");
        assert_eq!(shown["operations"][0], "telemetry", "{shown}");
        assert_eq!(shown["size"], std::fs::metadata(folder.path(&file)).unwrap().len());
    }
    let rows: [(&[&str], &str); 11] = [
        (&["nowhere.wasm"], "nowhere.wasm: No such file"),
        (&["plugins"], "plugins: Is a directory"),
        (&["garbage.wasm"], "garbage.wasm: not a WebAssembly file: expected a core module or a component"),
        (&["empty.wasm"], "empty.wasm: not a WebAssembly file: expected a core module or a component"),
        (&["nothing.wasm"], "nothing.wasm: exports no tidegate:plugin/conversion"),
        (&["cut.wasm"], "cut.wasm: "),
        (&["imports.wasm"], "imports.wasm: "),
        (&["clock.wasm"], "clock.wasm: imports wasi:clocks/wall-clock@0.2.0: plugins get only "),
        (&["refuses.wasm"], "refuses.wasm: refused its configuration: "),
        (&["traps.wasm"], "traps.wasm: failed while starting: "),
        (&["plugins/json.wasm", "--plugin-config", "{"], "--plugin-config: a JSON object expected"),
    ];
    for (arguments, expected) in rows {
        let said = folder.cli(&[&["plugin", "check"], arguments].concat()).failed();
        assert!(said.starts_with("tidegate: ") && said.contains(expected), "{arguments:?}: {said}");
    }
    let said = folder.cli(&["plugin", "check", "imports.wasm"]).failed();
    assert!(said.contains("wasi_snapshot_preview1"), "{said}");
}

type Environment<'a> = &'a [(&'a str, &'a str)];

/// The issue: the token is found by the command line by itself; what is in the way says how to go on.
#[test]
fn finding_the_gateway() {
    let folder = Folder::default();
    let said = folder.cli(&["device", "list"]).failed();
    assert!(
        said.contains("data/admin-address: is a gateway running on this data folder? Name another one with --data"),
        "{said}"
    );

    let mut gateway = Gateway::start(Options::new());
    let (data, url) = (gateway.data(), gateway.api().url.clone());
    let token = gateway.api().token.clone();
    let data = data.to_str().unwrap();
    let everywhere: [(&[&str], Environment<'_>); 6] = [
        (&["--data", data], &[]),
        (&[], &[("TIDEGATE_DATA", data)]),
        (&["--api-url", &url, "--api-token", &token], &[]),
        (&[], &[("TIDEGATE_API_URL", &url), ("TIDEGATE_API_TOKEN", &token)]),
        (&["--data", data, "--api-url", &format!("{url}/")], &[]),
        (&["--set", &format!("data={data}")], &[]),
    ];
    for (arguments, environment) in everywhere {
        let said = folder.cli_with(&[&["device", "list", "--json"], arguments].concat(), environment);
        assert_eq!(said.json(), json!([]), "{arguments:?} {environment:?}");
    }
    let said = gateway.cli(&["device", "list", "--api-token", "wrong-token"]).failed();
    assert!(said.contains("this is not the admin token") && !said.contains("wrong-token"), "{said}");
    // --help shows what the environment says, but not what is secret.
    let help = folder.cli_with(&["device", "list", "--help"], &[("TIDEGATE_API_TOKEN", &token)]).ok();
    assert!(!help.contains(&token), "{help}");

    // A gateway that died leaves a note where it was; one that stopped takes it away, since somebody else may listen there.
    gateway.kill();
    let said = gateway.cli(&["device", "list"]).failed();
    assert!(said.contains(&format!("no answer from {url}: is the gateway running?")), "{said}");
    gateway.run();
    gateway.stop();
    let said = gateway.cli(&["device", "list"]).failed();
    assert!(said.contains("data/admin-address: is a gateway running on this data folder?"), "{said}");
    gateway.run();
    assert_eq!(gateway.cli(&["device", "list", "--json"]).json(), json!([]));
}
