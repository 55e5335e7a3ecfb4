// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
)

// syntaxFault puts what CEL's parser says into words for people who write rules.
func syntaxFault(e *cel.Error, text string) (say, hint string) {
	message := strings.TrimPrefix(e.Message, "Syntax error: ")
	message, _, _ = strings.Cut(message, " expecting ")
	_, token, _ := strings.Cut(message, "'")
	token = strings.TrimSpace(strings.TrimSuffix(token, "'"))
	switch {
	case strings.TrimSpace(text) == "":
		return "the rule is empty", "write true for a rule that everybody matches"
	case strings.Contains(message, "<EOF>"):
		return "the rule ends too early", "something is missing after the last word, or a bracket is not closed"
	case strings.HasPrefix(message, "token recognition error"):
		return "unexpected " + shorten(token), symbolHint(token)
	case strings.HasPrefix(message, "mismatched input"), strings.HasPrefix(message, "extraneous input"), strings.HasPrefix(message, "no viable alternative"):
		if hint = wordHint(token); hint == "" {
			hint = wordHint(wordBefore(text, e.Location.Line(), e.Location.Column()))
		}
		return "unexpected " + shorten(token), hint
	case strings.Contains(message, "invalid int literal"), strings.Contains(message, "invalid double literal"), strings.Contains(message, "invalid uint literal"):
		return "the number is too large", ""
	case strings.Contains(message, "recursion"), strings.Contains(message, "nesting"):
		return "the rule is nested too deep", fmt.Sprintf("at most %d groups stand inside each other", MaxDepth)
	default:
		return "syntax: " + shorten(strings.ReplaceAll(message, "\n", " ")), ""
	}
}

// wordBefore is the word that ends before a place in the text.
func wordBefore(text string, line, column int) string {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	before := []rune(lines[line-1])
	words := strings.Fields(string(before[:min(max(column, 0), len(before))]))
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

func symbolHint(token string) string {
	if token == "" {
		return ""
	}
	switch token[0] {
	case '=':
		return "write == to compare"
	case '&':
		return "write && for and"
	case '|':
		return "write || for or"
	case '"', '\'':
		return "the text is not closed"
	default:
		return ""
	}
}

func wordHint(token string) string {
	switch strings.ToLower(token) {
	case "and":
		return "write && for and"
	case "or":
		return "write || for or"
	case "not":
		return "write ! for not"
	default:
		return ""
	}
}
