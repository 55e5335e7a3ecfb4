// SPDX-License-Identifier: Apache-2.0

//go:build race

package main

// raced says that this test pays for the race detector.
const raced = true
