//! segue: a real-time customer segmentation engine.
