//! Work of a GPU that is captured as a graph and done again.

use resnet_ops::{relu, Buffer, Capture, CapturedGraph, DType, Executor, Precision};
use std::panic::{catch_unwind, AssertUnwindSafe};

fn gpu() -> Option<Executor> {
    Executor::cuda_for_tests(Precision::Fp32)
}

fn relu(executor: &Executor, x: &Buffer, y: &mut Buffer) -> resnet_ops::Result<()> {
    relu::forward(executor, x.len(), x, y)
}

fn graph(capture: Capture) -> CapturedGraph {
    match capture {
        Capture::Graph(graph) => graph,
        Capture::Refused(reason) => panic!("{reason}"),
        Capture::Never => panic!("a GPU captures"),
    }
}

#[test]
fn is_done_when_asked_for_on_what_is_there_by_then() {
    let Some(gpu) = gpu() else { return };
    let mut x = gpu.upload(DType::F32, &[-1f32; 8]).unwrap();
    let mut y = gpu.upload(DType::F32, &[9f32; 8]).unwrap();
    let graph = graph(gpu.capture(|| relu(&gpu, &x, &mut y)).unwrap());
    assert_eq!(y.read::<f64>(0..8).unwrap(), [9.0; 8]);
    for value in [-2f32, 3.0, -4.0] {
        x.write(&[value; 8]).unwrap();
        graph.run().unwrap();
        assert_eq!(y.read::<f64>(0..8).unwrap(), [f64::from(value.max(0.0)); 8]);
    }
}

#[test]
fn keeps_the_memory_it_is_done_on() {
    let Some(gpu) = gpu() else { return };
    let graph = {
        let x = gpu.upload(DType::F32, &[1f32; 8]).unwrap();
        let mut y = gpu.zeros(DType::F32, 8).unwrap();
        graph(gpu.capture(|| relu(&gpu, &x, &mut y)).unwrap())
    };
    let others: Vec<Buffer> = (0..16).map(|_| gpu.zeros(DType::F32, 8).unwrap()).collect();
    graph.run().unwrap();
    assert!(others.iter().all(|other| other.read::<f64>(0..8).unwrap() == [0.0; 8]));
}

#[test]
fn cannot_have_the_host_take_part() {
    let Some(gpu) = gpu() else { return };
    let mut x = gpu.upload(DType::F32, &[1f32; 8]).unwrap();
    let mut y = gpu.zeros(DType::F32, 8).unwrap();
    let message = |result: resnet_ops::Result<Capture>| result.err().unwrap().to_string();
    let said = "the GPU's memory while its work is captured";
    assert!(message(gpu.capture(|| gpu.zeros(DType::F32, 8).map(drop))).contains(&format!("takes {said}")));
    assert!(message(gpu.capture(|| x.read::<f64>(0..8).map(drop))).contains(&format!("reads {said}")));
    assert!(message(gpu.capture(|| x.write(&[2f32; 8]))).contains(&format!("writes {said}")));
    assert!(message(gpu.capture(|| gpu.capture(|| Ok(())).map(drop))).contains(&format!("captures {said}")));
    // None of them left anything behind.
    relu(&gpu, &x, &mut y).unwrap();
    assert_eq!(y.read::<f64>(0..8).unwrap(), [1.0; 8]);
}

#[test]
fn ends_where_the_work_panics() {
    let Some(gpu) = gpu() else { return };
    let x = gpu.upload(DType::F32, &[1f32; 8]).unwrap();
    let mut y = gpu.zeros(DType::F32, 8).unwrap();
    let panics = || gpu.capture(|| panic!("an imaginary defect")).map(drop);
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    relu(&gpu, &x, &mut y).unwrap();
    assert_eq!(y.read::<f64>(0..8).unwrap(), [1.0; 8]);
    graph(gpu.capture(|| relu(&gpu, &x, &mut y)).unwrap()).run().unwrap();
}

#[test]
fn other_backends_capture_nothing() {
    for executor in [Executor::ReferenceF32, Executor::cpu(1).unwrap()] {
        let mut called = false;
        let graph = executor.capture(|| {
            called = true;
            Ok(())
        });
        assert!(matches!(graph.unwrap(), Capture::Never) && !called);
    }
}
