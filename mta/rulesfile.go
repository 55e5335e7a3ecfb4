// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/seguemta/segue/config"
)

// operatorRules reads the rules that Segue ships and, before them, those of the operator's
// file, where there is one. what is the kind of rules, for errors.
func operatorRules[T any](what string, file config.Path, builtin func() (T, error), override func(shipped T, name, text string) (T, error)) (T, error) {
	shipped, err := builtin()
	if err != nil {
		return shipped, fmt.Errorf("reading the built-in %s rules: %w", what, err)
	}
	if file == "" {
		return shipped, nil
	}
	text, err := os.ReadFile(string(file))
	if err != nil {
		return shipped, fmt.Errorf("reading the %s rules: %w", what, err)
	}
	return override(shipped, string(file), string(text))
}

// ruleProblems is what err of [operatorRules] says to segue check. wrong is what errors
// about the rules themselves wrap; hint helps with those.
func ruleProblems(c *config.Config, key string, err, wrong error, hint string) []config.Problem {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wrong):
		return []config.Problem{c.Problem(key, err.Error(), hint)}
	case errors.As(err, new(*fs.PathError)):
		return []config.Problem{unreadable(c, key, err)}
	default:
		return []config.Problem{c.Problem(key, err.Error(), "")}
	}
}
