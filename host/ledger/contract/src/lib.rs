//! What every ledger must do: the contract tests, and a ledger so naive that it is plainly right.
