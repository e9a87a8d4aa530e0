//! The two servers: started, waited for, stopped.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::devices::Api;

/// The first start of tidegate compiles its plugins.
const START: Duration = Duration::from_secs(90);
/// For an orderly end.
const STOP: Duration = Duration::from_secs(10);

/// Where a process may run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pin(pub(crate) Option<usize>);

impl Pin {
    /// A command that stays on this CPU.
    pub(crate) fn command(self, program: &Path) -> Command {
        let Some(cpu) = self.0 else { return Command::new(program) };
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpu.to_string()).arg(program);
        command
    }
}

/// A server that runs. Stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where devices connect.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Its process: `taskset` becomes the program that it starts.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn start(mut command: Command, address: SocketAddr, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{:?}", command.get_program()))?;
        Ok(Self { child, address })
    }

    /// Waits until `ready` says so.
    fn wait(&mut self, log: &Path, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}): see {}", log.display());
            }
            if started.elapsed() > START {
                bail!("the server is not ready after {} s: see {}", START.as_secs(), log.display());
            }
            pause();
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let since = Instant::now();
        while asked && since.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(None) => pause(),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // It does not listen to reason; if it is gone already, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// tidegate with an empty folder of profiles, which means the built-in one, and settings that are the default ones but for
/// addresses and folders. Whatever was in its data folder stays.
pub(crate) fn tidegate(binary: &Path, plugins: &Path, work: &Path, pin: Pin) -> anyhow::Result<(Server, Api)> {
    let (data, profiles) = (work.join("data"), work.join("profiles"));
    std::fs::create_dir_all(&profiles)?;
    let note = data.join("admin-address");
    if note.exists() {
        std::fs::remove_file(&note)?; // it says when the API listens
    }
    let address = free_address()?;
    let mut command = pin.command(binary);
    // Its settings are the default ones, whatever the environment says.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.arg("serve").arg("--data").arg(&data);
    let set = [
        ("plugins", std::path::absolute(plugins)?.display().to_string()),
        ("profiles", std::path::absolute(&profiles)?.display().to_string()),
        ("bind", address.to_string()),
        ("admin.bind", "127.0.0.1:0".to_owned()),
    ];
    for (key, value) in set {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    let log = work.join("tidegate.log");
    let mut server = Server::start(command, address, &log)?;
    server.wait(&log, || Api::find(&data).is_ok_and(|api| api.is_ready()))?;
    Ok((server, Api::find(&data)?))
}

/// mosquitto with persistence and logging off, and answers that do not wait for more to come: the least that it can do.
pub(crate) fn mosquitto(work: &Path, pin: Pin) -> anyhow::Result<Server> {
    let address = free_address()?;
    let settings = [
        format!("listener {} {}", address.port(), address.ip()),
        "allow_anonymous true".to_owned(),
        "persistence false".to_owned(),
        "connection_messages false".to_owned(),
        "log_type none".to_owned(),
        "set_tcp_nodelay true".to_owned(),
    ];
    let file = work.join("mosquitto.conf");
    std::fs::write(&file, settings.join("\n") + "\n").with_context(|| file.display().to_string())?;
    let mut command = pin.command(Path::new("mosquitto"));
    command.arg("-c").arg(&file);
    let log = work.join("mosquitto.log");
    let mut server = Server::start(command, address, &log)?;
    server.wait(&log, || TcpStream::connect(address).is_ok())?;
    Ok(server)
}

/// The version of the mosquitto that is installed: everything is measured against it.
pub(crate) fn mosquitto_version() -> anyhow::Result<String> {
    let help = Command::new("mosquitto").arg("-h").output().context("mosquitto: is it installed?")?;
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    Ok(text.lines().next().context("mosquitto -h prints nothing")?.to_owned())
}

/// Where the data folder would be, for whoever wants to begin with an empty one.
pub(crate) fn data(work: &Path) -> PathBuf {
    work.join("data")
}

/// Nobody else takes a port that was free just now, in all likelihood.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[expect(clippy::disallowed_methods, reason = "this program has one thread, which has nothing else to do")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
