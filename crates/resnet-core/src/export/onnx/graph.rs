//! A graph as it is made: nodes in the order in which they run, values with their types, and names that differ.

use super::initializer::{Initializer, Numbers};
use super::proto::{
    AttributeProto, AttributeType, Dimension, DimensionValue, Element, GraphProto, NodeProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::Precision;
use std::collections::{HashMap, HashSet};

/// What stands for any number of images.
pub const ANY_BATCH: &str = "N";

/// A graph that grows.
pub struct Graph<'a> {
    /// How layers compute.
    pub precision: Precision,
    /// Images of a batch; any number if absent.
    batch: Option<usize>,
    nodes: Vec<Node>,
    values: Vec<Value>,
    initializers: Vec<Initializer<'a>>,
    value_names: Names,
    node_names: Names,
}

/// What a node reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The graph's input, or what a node has written.
    Value(usize),
    /// A tensor of the file.
    Initializer(usize),
}

/// A value's type: its elements, and its sizes without the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// What it is made of.
    pub element: Element,
    /// Its sizes behind the batch.
    pub sizes: Vec<usize>,
}

/// What a node is called, what its output is called, and the output's type.
pub struct Site<'s> {
    /// The node's name.
    pub node: &'s str,
    /// The output's name.
    pub value: &'s str,
    /// The output's type.
    pub r#type: Type,
}

/// A graph's first or last value, as whoever runs it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it is made of: `float32` or `uint8`.
    pub element: &'static str,
    /// Its sizes; the batch's is absent where it may be any.
    pub shape: Vec<Option<usize>>,
}

struct Node {
    name: String,
    op: &'static str,
    inputs: Vec<Operand>,
    attributes: Vec<AttributeProto>,
    output: usize,
}

struct Value {
    name: String,
    r#type: Type,
}

/// Names that were given.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// What the next one of the same name gets behind it.
    next: HashMap<String, usize>,
}

impl<'a> Graph<'a> {
    /// A graph that has an input alone, which is its value 0. `reserved` names are those of [`Self::parameter`] and of the output.
    pub fn new(
        precision: Precision,
        batch: Option<usize>,
        input: (&str, Type),
        reserved: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut value_names = Names { taken: reserved.into_iter().collect(), next: HashMap::new() };
        let (name, r#type) = (value_names.distinct(input.0), input.1);
        Self {
            precision,
            batch,
            nodes: Vec::new(),
            values: vec![Value { name, r#type }],
            initializers: Vec::new(),
            value_names,
            node_names: Names::default(),
        }
    }

    /// Adds a node; its output.
    pub fn push(
        &mut self,
        site: Site,
        op: &'static str,
        inputs: Vec<Operand>,
        attributes: Vec<AttributeProto>,
    ) -> Operand {
        let (name, value) = (self.node_names.distinct(site.node), self.value_names.distinct(site.value));
        let output = self.values.len();
        self.values.push(Value { name: value, r#type: site.r#type });
        self.nodes.push(Node { name, op, inputs, attributes, output });
        Operand::Value(output)
    }

    /// Adds a parameter under its own name, which was reserved.
    pub fn parameter(&mut self, name: &str, dims: Vec<usize>, numbers: Numbers<'a>) -> Operand {
        let (name, precision) = (name.to_owned(), self.precision);
        self.initialize(Initializer { name, dims, numbers, precision })
    }

    /// Adds a tensor that is no parameter.
    pub fn constant(&mut self, name: &str, dims: Vec<usize>, numbers: Numbers<'a>, precision: Precision) -> Operand {
        let name = self.value_names.distinct(name);
        self.initialize(Initializer { name, dims, numbers, precision })
    }

    /// Adds whole numbers.
    pub fn whole(&mut self, name: &str, numbers: Vec<i64>) -> Operand {
        self.constant(name, vec![numbers.len()], Numbers::Whole(numbers), self.precision)
    }

    /// Gives a value, which some node has written, the name of the output, which was reserved.
    pub fn rename(&mut self, value: Operand, name: &str) {
        if let Operand::Value(value) = value {
            name.clone_into(&mut self.values[value].name);
        }
    }

    /// A value as it is seen from outside.
    pub fn port(&self, value: Operand) -> Port {
        let Operand::Value(value) = value else { unreachable!("a value that some node has written") };
        let Value { name, r#type: Type { element, sizes } } = &self.values[value];
        let element = match element {
            Element::F32 => "float32",
            Element::F16 => "float16",
            Element::U8 => "uint8",
            Element::I64 => "int64",
        };
        let shape = std::iter::once(self.batch).chain(sizes.iter().copied().map(Some)).collect();
        Port { name: name.clone(), element, shape }
    }

    /// All tensors of the file, in their order.
    pub fn initializers(&self) -> &[Initializer<'a>] {
        &self.initializers
    }

    /// The nodes, which stand before the tensors in a file.
    pub fn nodes(&self) -> GraphProto {
        let node = |node: &Node| NodeProto {
            input: node.inputs.iter().map(|&input| self.name(input).to_owned()).collect(),
            output: vec![self.values[node.output].name.clone()],
            name: node.name.clone(),
            op_type: node.op.to_owned(),
            attribute: node.attributes.clone(),
        };
        GraphProto { node: self.nodes.iter().map(node).collect(), name: "network".into(), ..GraphProto::default() }
    }

    /// Input, output and the types of what is between, which stand behind the tensors.
    pub fn values(&self, output: Operand) -> GraphProto {
        let mut graph = GraphProto::default();
        for (index, value) in self.values.iter().enumerate() {
            let list = match (index, Operand::Value(index) == output) {
                (0, _) => &mut graph.input,
                (_, true) => &mut graph.output,
                (_, false) => &mut graph.value_info,
            };
            list.push(self.described(value));
        }
        graph
    }

    fn initialize(&mut self, initializer: Initializer<'a>) -> Operand {
        self.initializers.push(initializer);
        Operand::Initializer(self.initializers.len() - 1)
    }

    fn name(&self, operand: Operand) -> &str {
        match operand {
            Operand::Value(value) => &self.values[value].name,
            Operand::Initializer(initializer) => &self.initializers[initializer].name,
        }
    }

    fn described(&self, Value { name, r#type: Type { element, sizes } }: &Value) -> ValueInfoProto {
        let value = |size: usize| DimensionValue::Value(size as i64);
        let batch = self.batch.map_or_else(|| DimensionValue::Param(ANY_BATCH.into()), value);
        let sizes = std::iter::once(batch).chain(sizes.iter().map(|&size| value(size)));
        let dim = sizes.map(|value| Dimension { value: Some(value) }).collect();
        let tensor = TensorTypeProto { elem_type: *element as i32, shape: Some(TensorShapeProto { dim }) };
        ValueInfoProto { name: name.clone(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
    }
}

impl Names {
    /// The name, or where it was given the name with a number.
    fn distinct(&mut self, wanted: &str) -> String {
        if self.taken.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let next = self.next.entry(wanted.to_owned()).or_insert(2);
        loop {
            let name = format!("{wanted}_{next}");
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// An attribute of whole numbers.
pub fn ints(name: &str, ints: impl IntoIterator<Item = usize>) -> AttributeProto {
    let ints = ints.into_iter().map(|number| number as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: AttributeType::Ints as i32, ..AttributeProto::default() }
}

/// An attribute of a whole number.
pub fn int(name: &str, number: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(number),
        r#type: AttributeType::Int as i32,
        ..AttributeProto::default()
    }
}

/// An attribute of a number.
pub fn float(name: &str, number: f64) -> AttributeProto {
    let f = Some(number as f32);
    AttributeProto { name: name.into(), f, r#type: AttributeType::Float as i32, ..AttributeProto::default() }
}
