//! The parts of the agent that tests and fuzz targets use.

pub mod guest;
pub mod sys;
