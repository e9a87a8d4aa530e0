//! A running gateway: the real binary as a child process.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::options::Options;
use crate::wait::{DEADLINE, pause, until};

/// What a device of a test presents, if nothing else is said: its own name.
pub fn token_of(device: &str) -> String {
    format!("token-of-{device}")
}

/// A gateway with folders of its own. When it is dropped it must end in order and must not have panicked.
pub struct Gateway {
    folder: TempDir,
    options: Options,
    process: Option<Child>,
    address: SocketAddr,
    api: Api,
}

impl Gateway {
    /// Starts a gateway and waits until it is ready.
    ///
    /// # Panics
    /// It does not become ready.
    pub fn start(options: Options) -> Self {
        let folder = TempDir::with_prefix("tidegate-e2e-").unwrap();
        for name in ["data", "plugins", "profiles"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("plugins/json.wasm"), shipped_plugin("json")).unwrap();
        for (path, contents) in &options.files {
            write(&folder.path().join(path), contents);
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self { folder, options, process: None, address: nowhere, api: Api::default() };
        gateway.run();
        gateway
    }

    /// Starts it again on the same folders, after [`stop`](Self::stop), [`kill`](Self::kill) or its own end.
    ///
    /// # Panics
    /// It runs, or does not become ready.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "the gateway runs already");
        let _ = fs::remove_file(self.data().join("admin-address"));
        let already_said = self.log().len();
        let stderr = OpenOptions::new().create(true).append(true).open(self.stderr_file()).unwrap();
        let mut command = self.options.wrapper.split_first().map_or_else(
            || Command::new(binary()),
            |(program, arguments)| {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary());
                command
            },
        );
        self.prepare(&mut command);
        command.arg("serve").args(["--bind=127.0.0.1:0", "--plugins=plugins", "--profiles=profiles"]);
        command.args(["--set", "admin.bind=127.0.0.1:0", "--set", "log.format=json"]);
        // A segment of the default size takes longer to prepare than most tests run.
        command.args(["--set", "event_log.segment_size=1 MiB"]);
        for setting in &self.options.settings {
            command.args(["--set", setting]);
        }
        command.args(&self.options.flags);
        let process =
            command.stdin(Stdio::null()).stdout(File::create(self.path("stdout.log")).unwrap()).stderr(stderr);
        self.process = Some(process.spawn().unwrap());
        let serving = until("the gateway to say that it serves", || {
            if let Some(status) = self.process.as_mut()?.try_wait().unwrap() {
                self.process = None;
                panic!("the gateway ended with {status} instead of serving:\n{}", self.log());
            }
            let said = self.log();
            let said = said.get(already_said..).unwrap_or_default();
            said.lines().find_map(serving)
        });
        let (address, admin) = serving;
        self.address = address;
        let token = fs::read_to_string(self.data().join("admin-token")).unwrap();
        self.api = Api::new(admin, token.trim());
        until("the gateway to be ready", || (self.api.get("/readyz").status == 200).then_some(()));
    }

    /// From now on nothing stands between it and the system: [`Options::under`] was for its first run.
    pub fn start_plainly(&mut self) {
        self.options.wrapper.clear();
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// It does not end, or not in order.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "the gateway ended with {status}:\n{}", self.log());
        assert!(self.log().contains("stopped"), "no orderly end:\n{}", self.log());
    }

    /// Ends it as a power cut would, but for the page cache.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end; then it is killed.
    pub fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a gateway that runs");
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            pause(Duration::from_millis(5));
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("the gateway does not end:\n{}", self.log());
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.process.as_ref().expect("a gateway that runs"))
    }

    /// Where devices connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its admin API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// A file or folder of this gateway.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file of this gateway the way careful tools do: under another name, then renamed.
    pub fn replace(&self, name: &str, contents: impl AsRef<[u8]>) {
        let file = self.path(name);
        let new = file.with_file_name(".new");
        write(&new, contents.as_ref());
        fs::rename(new, file).unwrap();
    }

    /// What the run that was started last has printed on standard output.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.path("stdout.log")).unwrap_or_default()
    }

    /// Everything it has said on standard error, all runs together.
    pub fn log(&self) -> String {
        fs::read(self.stderr_file()).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// What it says on standard error in JSON.
    pub fn log_records(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.log().lines().map(parse).collect()
    }

    /// Creates a device of the default profile; returns its access token.
    pub fn device(&self, name: &str) -> String {
        self.device_of(name, "default")
    }

    /// Creates a device of this profile; returns its access token.
    pub fn device_of(&self, name: &str, profile: &str) -> String {
        let token = token_of(name);
        let credentials = json!({ "type": "ACCESS_TOKEN", "token": token });
        self.create(json!({ "name": name, "profile": profile, "credentials": credentials }));
        token
    }

    /// Creates a device that is a gateway; returns its access token.
    pub fn gateway_device(&self, name: &str) -> String {
        let token = token_of(name);
        let credentials = json!({ "type": "ACCESS_TOKEN", "token": token });
        self.create(json!({ "name": name, "gateway": true, "credentials": credentials }));
        token
    }

    /// Creates a device as the API has it.
    pub fn create(&self, device: Value) {
        let answer = self.api.post("/api/v1/devices", device);
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// Whether it lives and takes in events.
    pub fn assert_healthy(&self) {
        for path in ["/healthz", "/readyz"] {
            let answer = self.api.get(path);
            assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.body, self.log());
        }
        self.assert_no_panic();
    }

    /// A command of the binary in this gateway's folder, without settings from the environment of the test.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(binary());
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        in_folder(command, self.folder.path());
        command.args(["--data", "data"]);
    }

    fn stderr_file(&self) -> PathBuf {
        self.path("stderr.log")
    }

    fn assert_no_panic(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "the gateway panicked:\n{log}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(mut process) = self.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
            eprintln!("--- the gateway said ---\n{}", self.log());
            return;
        }
        if self.process.is_some() {
            self.stop();
        }
        self.assert_no_panic();
    }
}

/// Has a command run in this folder, without settings from the environment of the test.
pub(crate) fn in_folder(command: &mut Command, folder: &Path) {
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
}

/// Where devices connect and where the admin API is, if this line of the log says so; in JSON or as text.
fn serving(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let field = |key: &str| {
        if let Ok(record) = serde_json::from_str::<Value>(line) {
            return record[key].as_str()?.parse().ok();
        }
        line.split_once(&format!(" {key}="))?.1.split(' ').next()?.parse().ok()
    };
    line.contains("serving").then(|| Some((field("address")?, field("admin")?)))?
}

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Some(binary) = std::env::var_os("TIDEGATE_BIN") {
        return binary.into();
    }
    // This executable is in target/PROFILE/deps, the binary in target/PROFILE.
    let here = std::env::current_exe().unwrap();
    let binary = here.ancestors().nth(2).unwrap().join("tidegate");
    assert!(binary.is_file(), "{} is missing: run `make build`", binary.display());
    binary
}

/// A plugin that is shipped, as it was built.
pub fn shipped_plugin(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(format!("{name}.wasm"));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: run `make plugins`", file.display()))
}

fn write(file: &Path, contents: &[u8]) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, contents).unwrap();
}
