//! Parked messages as an operator meets them over HTTP: who may, what is shown, what a redrive does and leaves in writing.

mod desk;
