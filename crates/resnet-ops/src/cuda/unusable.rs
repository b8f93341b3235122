//! Why the NVIDIA driver cannot be used, and what helps.

#![allow(clippy::wildcard_enum_match_arm, reason = "the system's errors are many")]

use std::io::{Error, ErrorKind};

/// EPERM: a control group forbids what the file's own permissions (EACCES) may allow.
const NOT_PERMITTED: i32 = 1;

/// What of a machine tells why a driver finds no GPU.
pub(super) struct Surroundings {
    /// The version of the driver in the kernel, where Linux tells it.
    pub kernel: Option<String>,
    /// What `CUDA_VISIBLE_DEVICES` is.
    pub visible: Option<String>,
    /// The files by which programs reach the driver in the kernel, and why they do not open.
    pub files: Vec<(String, Option<Error>)>,
}

impl Surroundings {
    /// Those of this process; the files are opened as the driver would.
    #[cfg(all(feature = "cuda", target_os = "linux"))]
    pub fn new(kernel: Option<String>) -> Self {
        let is_gpu = |name: &String| {
            name.strip_prefix("nvidia").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit()))
        };
        let names = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let mut gpus: Vec<String> =
            names.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_gpu).collect();
        gpus.sort();
        if gpus.is_empty() {
            gpus.push("nvidia0".into());
        }
        let mut names = vec!["nvidiactl".to_owned(), "nvidia-uvm".to_owned()];
        names.extend(gpus);
        // Windows' Linux reaches its driver by another file.
        if std::path::Path::new("/dev/dxg").exists() {
            names.clear();
        }
        let opened = |name: String| {
            let device = &format!("/dev/{name}");
            (device.clone(), std::fs::OpenOptions::new().read(true).write(true).open(device).err())
        };
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        Self { kernel, visible, files: names.into_iter().map(opened).collect() }
    }

    /// Elsewhere there is nothing to be seen.
    #[cfg(all(feature = "cuda", not(target_os = "linux")))]
    pub fn new(kernel: Option<String>) -> Self {
        Self { kernel, visible: std::env::var("CUDA_VISIBLE_DEVICES").ok(), files: Vec::new() }
    }

    /// Why there is no libcuda, and what helps.
    pub fn no_library(&self) -> String {
        match &self.kernel {
            None => "there is no NVIDIA driver (libcuda.so.1): install one of version 580 or newer".into(),
            Some(version) => format!(
                "the kernel has the NVIDIA driver {version}, but there is no libcuda.so.1: start a container with --gpus all and \
                 NVIDIA_DRIVER_CAPABILITIES=compute,utility; outside of one, install the driver's libraries (Ubuntu's \
                 libnvidia-compute, Debian's libcuda1) in that version"
            ),
        }
    }

    /// What keeps the driver from the GPUs, as far as files tell, or a variable where it finds none; and what helps.
    pub fn why(&self, finds_none: bool) -> Option<String> {
        let is_gpu = |path: &str| path.ends_with(|last: char| last.is_ascii_digit());
        // Of several GPUs a job may be given some only.
        let one_opens = self.files.iter().any(|(path, error)| is_gpu(path) && error.is_none());
        let mut files = self.files.iter().filter(|(path, _)| !(one_opens && is_gpu(path)));
        let closed = files.find_map(|(path, error)| Some(self.meaning(path, error.as_ref()?)));
        closed.or_else(|| finds_none.then(|| self.hidden()).flatten())
    }

    fn hidden(&self) -> Option<String> {
        let visible = self.visible.as_ref()?;
        Some(format!(
            "the NVIDIA driver finds no GPU, since CUDA_VISIBLE_DEVICES is \"{visible}\": unset it, or have it name a GPU that \
             nvidia-smi -L lists"
        ))
    }

    /// What a file that does not open means.
    fn meaning(&self, path: &str, error: &Error) -> String {
        let no_gpu = "the NVIDIA driver finds no GPU";
        match error.kind() {
            ErrorKind::NotFound if self.kernel.is_none() => format!(
                "{no_gpu}, and the kernel has not loaded its part of the driver: where there is a GPU, sudo modprobe nvidia, or restart \
                 the machine"
            ),
            ErrorKind::NotFound if path.ends_with("uvm") => format!(
                "{no_gpu}, since there is no {path}: sudo nvidia-modprobe -u -c 0, a container's on its host, then start the \
                 container again"
            ),
            ErrorKind::NotFound => format!(
                "{no_gpu}, since there is no {path}: start a container with --gpus all (docker) or --device nvidia.com/gpu=all \
                 (podman); outside of one, sudo nvidia-modprobe -c 0"
            ),
            _ if error.raw_os_error() == Some(NOT_PERMITTED) => format!(
                "{no_gpu}, since this container or job may not open {path}: start the container again, with --gpus all (docker) or \
                 --device nvidia.com/gpu=all (podman); have the job ask for a GPU (Slurm's --gpus 1)"
            ),
            ErrorKind::PermissionDenied => format!(
                "{no_gpu}, since this user may not read and write {path}: sudo chmod a+rw /dev/nvidia*, or have it in the \
                 file's group, which ls -l /dev/nvidia* tells, and log in again"
            ),
            _ => format!(
                "{no_gpu}, since {path} does not open ({error}): see what sudo dmesg | grep NVRM tells, and restart the machine"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Surroundings;
    use std::io::Error;

    const NOT_PERMITTED: i32 = 1;
    const MISSING: i32 = 2;
    const BROKEN: i32 = 5;
    const FORBIDDEN: i32 = 13;

    fn surroundings(kernel: bool, visible: Option<&str>, files: [i32; 3]) -> Surroundings {
        let paths = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0"].map(str::to_owned);
        let error = |number| (number != 0).then(|| Error::from_raw_os_error(number));
        Surroundings {
            kernel: kernel.then(|| "580.95.05".to_owned()),
            visible: visible.map(str::to_owned),
            files: paths.into_iter().zip(files.map(error)).collect(),
        }
    }

    #[test]
    fn what_keeps_a_driver_from_a_gpu_is_told_with_its_fix() {
        let cases = [
            (
                false,
                [MISSING; 3],
                "kernel has not loaded its part of the driver",
                "sudo modprobe nvidia, or restart the machine",
            ),
            (true, [MISSING; 3], "there is no /dev/nvidiactl", "outside of one, sudo nvidia-modprobe -c 0"),
            (true, [0, 0, MISSING], "there is no /dev/nvidia0", "outside of one, sudo nvidia-modprobe -c 0"),
            (true, [0, MISSING, 0], "there is no /dev/nvidia-uvm", "on its host, then start the container again"),
            (true, [FORBIDDEN; 3], "this user may not read and write /dev/nvidiactl", "and log in again"),
            (true, [0, 0, FORBIDDEN], "this user may not read and write /dev/nvidia0", "and log in again"),
            (
                true,
                [0, NOT_PERMITTED, 0],
                "this container or job may not open /dev/nvidia-uvm",
                "ask for a GPU (Slurm's --gpus 1)",
            ),
            (true, [0, 0, BROKEN], "/dev/nvidia0 does not open (", "and restart the machine"),
        ];
        for (kernel, files, reason, fix) in cases {
            let message = surroundings(kernel, Some("0"), files).why(true).expect("a reason");
            assert!(message.starts_with("the NVIDIA driver finds no GPU, "), "{message}");
            assert!(message.contains(reason) && message.ends_with(fix), "{message}");
        }
        let hidden = surroundings(true, Some("-1"), [0; 3]).why(true).expect("a reason");
        assert!(hidden.contains("CUDA_VISIBLE_DEVICES is \"-1\": unset it"), "{hidden}");
        assert_eq!(surroundings(true, None, [0; 3]).why(true), None);
        let mut several = surroundings(true, None, [0, 0, NOT_PERMITTED]);
        assert!(several.why(true).is_some());
        several.files.push(("/dev/nvidia1".into(), None));
        assert_eq!(several.why(true), None);
        // Of a driver that fails otherwise the variable says nothing.
        assert_eq!(surroundings(true, Some("-1"), [0; 3]).why(false), None);
    }

    #[test]
    fn a_library_that_is_missing_beside_a_driver_in_the_kernel_is_another_case_than_no_driver() {
        let message = surroundings(false, None, [MISSING; 3]).no_library();
        assert!(message.ends_with("install one of version 580 or newer"), "{message}");
        let message = surroundings(true, None, [MISSING; 3]).no_library();
        assert!(
            message.starts_with("the kernel has the NVIDIA driver 580.95.05, but there is no libcuda.so.1: "),
            "{message}"
        );
        assert!(message.contains("start a container with --gpus all"), "{message}");
    }
}
