//! The per-partition hash tree (Dynamo 4.7). Its floor is laid; the tree comes with anti-entropy.
