//! Compiles the `.proto` files with protox, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["event.proto", "row.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    prost_build::Config::new().compile_fds(protox::compile(files, ["."])?)?;
    Ok(())
}
