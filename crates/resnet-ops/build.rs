//! Compiles the CUDA kernels: by nvcc for the feature `cuda`, by the machine's C++ compiler for `cuda-host`.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA_KERNELS").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=src");
    let sources = sources(Path::new("src"));
    let includes: String = sources.iter().map(|source| format!("#include \"{source}\"\n")).collect();
    std::fs::write(output().join("every_op.cuh"), includes).expect("cargo's folder can be written");
    #[cfg(any(feature = "cuda", feature = "cuda-host"))]
    {
        let mut kernels: Vec<(String, u32)> = sources.iter().flat_map(|source| kernels(source)).collect();
        kernels.sort();
        let names = kernels.iter().flat_map(|(name, _)| ELEMENTS.map(|element| format!("{name}_{element}")));
        let names = format!("{:?}", names.collect::<Vec<_>>());
        std::fs::write(output().join("kernel_names.rs"), names).expect("cargo's folder can be written");
        #[cfg(feature = "cuda")]
        device::compile(&output());
        #[cfg(feature = "cuda-host")]
        host::compile(&kernels, &output());
    }
}

/// The types that every kernel is compiled for, as its name ends.
#[cfg(any(feature = "cuda", feature = "cuda-host"))]
const ELEMENTS: [&str; 2] = ["f32", "bf16"];

/// How a kernel is defined, and how many fibers at most a block of that kind has on a machine without a GPU: threads that do not wait for
/// each other are none. Eleven are more than an octet's lanes, and no multiple of anything that they step over.
#[cfg(any(feature = "cuda", feature = "cuda-host"))]
const KINDS: [(&str, u32); 3] = [("KERNEL", 0), ("SYNCING_KERNEL", u32::MAX), ("SHARING_KERNEL", 11)];

/// The kernels that a source defines, with their fibers.
#[cfg(any(feature = "cuda", feature = "cuda-host"))]
fn kernels(source: &str) -> Vec<(String, u32)> {
    let text = std::fs::read_to_string(Path::new("src").join(source)).expect("a source");
    let kernel = |line: &str| {
        let (kind, rest) = line.split_once('(')?;
        let (_, fibers) = KINDS.into_iter().find(|&(known, _)| known == kind)?;
        Some((rest.split_once(')')?.0.to_owned(), fibers))
    };
    text.lines().filter_map(kernel).collect()
}

/// The sources of all kernels, as paths from `src`, in order.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "cu")
            && path != Path::new("src/cuda/kernels.cu")
        {
            let path = path.strip_prefix("src").expect("below it");
            found.push(path.to_str().expect("names in ASCII").replace('\\', "/"));
        }
    }
    found.sort();
    found
}

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

    pub fn compile(output: &Path) {
        HOMES.iter().for_each(|home| println!("cargo::rerun-if-env-changed={home}"));
        let home = HOMES.iter().find_map(std::env::var_os);
        let nvcc = home.map_or("nvcc".into(), |home| Path::new(&home).join("bin/nvcc"));
        let mut command = Command::new(&nvcc);
        command.args(["-fatbin", "-O3", "-std=c++17", "-Isrc", "-I"]).arg(output);
        command.args(["src/cuda/kernels.cu", "-o"]).arg(output.join("kernels.fatbin"));
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
    use std::time::SystemTime;

    pub fn compile(kernels: &[(String, u32)], output: &Path) {
        let mut table = String::from("#include \"cuda/kernels.cu\"\n#include \"cuda/host.cpp\"\n");
        table.push_str("static const Entry entries[] = {\n");
        for (name, fibers) in kernels {
            for element in super::ELEMENTS {
                writeln!(table, "    {{\"{name}_{element}\", caller<{name}_{element}>({name}_{element}), {fibers}}},")
                    .unwrap();
            }
        }
        table.push_str("};\n#include \"cuda/table.cpp\"\n");
        let (file, archive) = (output.join("host.cpp"), output.join("libkernels.a"));
        println!("cargo::rustc-link-search=native={}", output.display());
        println!("cargo::rustc-link-lib=static=kernels\ncargo::rustc-link-lib=stdc++");
        // A change of Rust's sources runs this, too.
        if std::fs::read_to_string(&file).is_ok_and(|compiled| compiled == table)
            && modified(&archive).is_some_and(|compiled| compiled > newest(Path::new("src")))
        {
            return;
        }
        std::fs::write(&file, table).expect("cargo's folder can be written");
        cc::Build::new()
            .cpp(true)
            // What cargo links is told above, also where nothing is compiled.
            .cargo_metadata(false)
            .std("c++17")
            .opt_level(2)
            // It would check that jumps stay on one stack.
            .flag("-U_FORTIFY_SOURCE")
            .include("src")
            .include(output)
            .file(file)
            .warnings(true)
            .compile("kernels");
    }

    fn modified(path: &Path) -> Option<SystemTime> {
        std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
    }

    /// When one of a folder's sources in C++ was last changed.
    fn newest(folder: &Path) -> SystemTime {
        let times = std::fs::read_dir(folder).expect("a folder of sources").map(|entry| {
            let path = entry.expect("an entry of it").path();
            match path.extension().and_then(|extension| extension.to_str()) {
                None => newest(&path),
                Some("rs") => SystemTime::UNIX_EPOCH,
                Some(_) => modified(&path).expect("a source"),
            }
        });
        times.max().unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
