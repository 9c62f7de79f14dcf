//! Along what derivatives are compared: every entry of a small argument; of a large one random directions and a
//! single entry.

use crate::sym::random;

/// Up to so many entries of an argument, each is a direction of its own.
pub const ENTRIES: usize = 16;
/// Random directions, and single entries, where there are more.
const RANDOM: usize = 3;
const SINGLE: usize = 1;

/// Unit-free directions: of the norm of the argument, so that a step is a share of its size.
#[derive(Clone, Debug)]
pub struct Directions {
    pub list: Vec<Direction>,
    /// Whether the single entries of the argument are all there.
    pub complete: bool,
    size: f64,
    stream: u32,
    drawn: u32,
}

#[derive(Clone, Debug)]
pub struct Direction {
    pub entries: Vec<f64>,
    /// Of a single entry: which.
    pub entry: Option<usize>,
}

impl Directions {
    /// For an argument of these values; different streams give different directions.
    pub fn new(values: &[f64], seed: u64, stream: u32) -> Directions {
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let size = if norm > 0.0 { norm } else { (values.len() as f64).sqrt() };
        let complete = values.len() <= ENTRIES;
        let stream = stream ^ (seed as u32).rotate_left(16) ^ (seed >> 32) as u32;
        let mut directions = Directions { list: vec![], complete, size, stream, drawn: 0 };
        let count = values.len();
        if complete {
            directions.list = (0..count).map(|entry| directions.single(count, entry)).collect();
        } else {
            directions.list = (0..RANDOM).map(|_| directions.random(count)).collect();
            for nth in 0..SINGLE {
                let entry = (uniform(directions.stream, u32::MAX - nth as u32, 0) * count as f64) as usize;
                directions.list.push(directions.single(count, entry));
            }
        }
        directions
    }

    fn single(&self, count: usize, entry: usize) -> Direction {
        let mut entries = vec![0.0; count];
        entries[entry] = self.size;
        Direction { entries, entry: Some(entry) }
    }

    fn random(&mut self, count: usize) -> Direction {
        self.drawn += 1;
        let scale = self.size / (count as f64).sqrt() * 3.0f64.sqrt();
        let entry = |place: usize| scale * (2.0 * uniform(self.stream, self.drawn, place as u32) - 1.0);
        Direction { entries: (0..count).map(entry).collect(), entry: None }
    }

    /// Another direction in place of one that a kink spoils; `None` where every direction is needed.
    pub fn redraw(&mut self, place: usize) -> Option<Direction> {
        if self.complete {
            return None;
        }
        let count = self.list[place].entries.len();
        self.list[place] = self.random(count);
        Some(self.list[place].clone())
    }

    /// Which of these with which of another argument's are compared in a bilinear form: all of small arguments, or as
    /// many as are asked for, evenly spread; else each with its neighbours.
    pub fn pairs(&self, other: &Directions, same: bool, most: usize) -> Vec<(usize, usize)> {
        let (rows, columns) = (self.list.len(), other.list.len());
        if self.complete && other.complete {
            let below = |(row, column): &(usize, usize)| !same || row <= column;
            let all = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
            return spread(all.filter(below).collect(), most);
        }
        let longest = rows.max(columns);
        let shifted = |shift: usize| (0..longest).map(move |i| (i % rows, (i + shift) % columns));
        let mut pairs: Vec<(usize, usize)> = shifted(0).take(4).chain(shifted(1).skip(3)).collect();
        pairs.dedup();
        spread(pairs, most)
    }
}

/// At most so many of these, but a few, evenly spread.
fn spread(pairs: Vec<(usize, usize)>, most: usize) -> Vec<(usize, usize)> {
    const FEW: usize = 4;
    let (count, most) = (pairs.len(), most.max(FEW));
    if count <= most { pairs } else { (0..most).map(|nth| pairs[nth * count / most]).collect() }
}

fn uniform(stream: u32, draw: u32, place: u32) -> f64 {
    random::uniform(stream, &[draw], place)
}
