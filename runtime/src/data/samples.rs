//! Samples in memory as they are kept, and as a training step takes them. Bytes stay bytes: a set of images takes a
//! quarter of the memory of its numbers, which are made when a batch is.

/// Samples with their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    pub inputs: Inputs,
    /// Numbers of one sample.
    pub sample_size: usize,
    pub targets: Targets,
}

/// Sample after sample, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    Floats(Vec<f32>),
    Bytes { values: Vec<u8>, scale: Scale },
}

/// What each byte of each channel stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    pub tables: Vec<[f32; 256]>,
    /// Numbers of one channel.
    pub plane: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Class numbers from 0.
    Class(Vec<i32>),
    /// `size` values per sample.
    Float { values: Vec<f32>, size: usize },
}

impl Samples {
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the numbers of one sample; `into` has room for `sample_size`.
    pub fn read(&self, index: usize, into: &mut [f32]) {
        self.inputs.read(index, into);
    }

    /// What stands for the number 0 of the file (black) in a channel.
    pub fn black(&self, channel: usize) -> f32 {
        match &self.inputs {
            Inputs::Floats(_) => 0.0,
            Inputs::Bytes { scale, .. } => scale.tables[channel % scale.tables.len()][0],
        }
    }

    /// Numbers of the first `count` samples.
    pub fn first(&self, count: usize) -> Vec<f32> {
        let mut floats = vec![0.0; count * self.sample_size];
        for (index, into) in floats.chunks_exact_mut(self.sample_size.max(1)).enumerate() {
            self.read(index, into);
        }
        floats
    }

    #[cfg(test)]
    pub fn floats(&self) -> Vec<f32> {
        self.first(self.len())
    }
}

impl Inputs {
    /// Numbers of all samples together.
    pub fn len(&self) -> usize {
        match self {
            Inputs::Floats(values) => values.len(),
            Inputs::Bytes { values, .. } => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the numbers of the sample `index`, which are as many as `into` has room for.
    pub fn read(&self, index: usize, into: &mut [f32]) {
        let range = index * into.len()..(index + 1) * into.len();
        match self {
            Inputs::Floats(values) => into.copy_from_slice(&values[range]),
            Inputs::Bytes { values, scale } => scale.read(&values[range], into),
        }
    }
}

impl Scale {
    pub(super) fn read(&self, bytes: &[u8], into: &mut [f32]) {
        let channels = bytes.chunks(self.plane).zip(into.chunks_mut(self.plane));
        for ((bytes, into), table) in channels.zip(self.tables.iter().cycle()) {
            into.iter_mut().zip(bytes).for_each(|(into, byte)| *into = table[usize::from(*byte)]);
        }
    }
}

impl Targets {
    pub fn len(&self) -> usize {
        match self {
            Targets::Class(labels) => labels.len(),
            Targets::Float { values, size } => values.len() / size,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
