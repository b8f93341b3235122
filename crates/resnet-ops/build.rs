//! Compiles the CUDA kernels: by nvcc for the feature `cuda`, by the machine's C++ compiler for `cuda-host`.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA_KERNELS").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=src");
    #[cfg(feature = "cuda")]
    device::compile(&output().join("kernels.fatbin"));
    #[cfg(feature = "cuda-host")]
    host::compile(&output());
}

#[allow(dead_code)]
fn output() -> PathBuf {
    PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"))
}

/// Machine code for compute capability 8.0 and 9.0, and what the driver compiles for cards that came later.
#[cfg(feature = "cuda")]
mod device {
    use std::path::Path;
    use std::process::Command;

    const TARGETS: [&str; 3] =
        ["arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"];
    const HOMES: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];

    pub fn compile(fatbin: &Path) {
        HOMES.iter().for_each(|home| println!("cargo::rerun-if-env-changed={home}"));
        let home = HOMES.iter().find_map(std::env::var_os);
        let nvcc = home.map_or("nvcc".into(), |home| Path::new(&home).join("bin/nvcc"));
        let mut command = Command::new(&nvcc);
        command.args(["-fatbin", "-O3", "-std=c++17", "-Isrc", "src/cuda/kernels.cu", "-o"]).arg(fatbin);
        command.args(TARGETS.iter().flat_map(|target| ["-gencode", target]));
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("{} failed: {status}", nvcc.display()),
            Err(error) => panic!(
                "the feature `cuda` needs nvcc 13 of the CUDA toolkit, in $CUDA_HOME/bin or on the path; {}: {error}",
                nvcc.display()
            ),
        }
    }
}

/// The same kernels as functions of this machine, and the table by which they are called.
#[cfg(feature = "cuda-host")]
mod host {
    use std::fmt::Write;
    use std::path::Path;

    pub fn compile(output: &Path) {
        let mut names = Vec::new();
        super::collect(Path::new("src"), &mut names);
        names.sort();
        let mut table = String::from("#include \"cuda/kernels.cu\"\n#include \"cuda/host.cpp\"\n");
        table.push_str("static const Entry entries[] = {\n");
        for (name, syncs) in &names {
            for element in ["f32", "bf16"] {
                writeln!(table, "    {{\"{name}_{element}\", caller(&{name}_{element}), {syncs}}},").unwrap();
            }
        }
        table.push_str("};\n#include \"cuda/table.cpp\"\n");
        let file = output.join("host.cpp");
        std::fs::write(&file, table).expect("cargo's folder can be written");
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .opt_level(2)
            .include("src")
            .file(file)
            .warnings(true)
            .compile("kernels");
    }
}

/// The kernels that the sources under a folder define, and whether their threads wait for each other.
#[cfg_attr(not(feature = "cuda-host"), allow(dead_code))]
fn collect(folder: &Path, names: &mut Vec<(String, bool)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "cu") {
            let text = std::fs::read_to_string(&path).expect("a source");
            for line in text.lines() {
                for (word, syncs) in [("KERNEL(", false), ("SYNCING_KERNEL(", true)] {
                    if let Some((name, _)) = line.strip_prefix(word).and_then(|rest| rest.split_once(')')) {
                        names.push((name.to_owned(), syncs));
                    }
                }
            }
        }
    }
}
