//! What the tests share: a deployment on free ports, scripted clients, waiting for a state.
