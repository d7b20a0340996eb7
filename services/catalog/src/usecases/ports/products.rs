//! What the product use cases ask of the world.
