//! Records written under older and newer schemas than ours: to be filled.
