//! Interest ratings, read with little patience.
