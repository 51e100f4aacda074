//! The time burnt into a picture, and how it is read back.
