// SPDX-License-Identifier: Apache-2.0

package public

import (
	"io"
	"net/http"
)

// Pages have no scripts, no pictures and nothing of the request in them.
const (
	question  = `<h1>Unsubscribe</h1><p>Do you want no more of these mails?</p><form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click"><button>Unsubscribe</button></form>`
	done      = `<h1>You are unsubscribed</h1><p>You will get no more of these mails. One that is on its way already may still arrive.</p>`
	notFound  = `<h1>Not found</h1><p>This link leads nowhere. It must be copied from the mail as a whole.</p>`
	noForm    = `<h1>Nothing was changed</h1><p>The request was not the form of an unsubscribe.</p>`
	tooMany   = `<h1>Too many requests</h1><p>Please try again in a minute.</p>`
	comeAgain = `<h1>Please try again</h1><p>The request could not be carried out just now.</p>`

	before = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Mail</title><style>body{font:1.1em/1.5 sans-serif;max-width:30em;margin:4em auto;padding:0 1em}button{font:inherit;padding:.5em 1em}</style></head><body>`
	after  = "</body></html>\n"
)

// write sends a page. net/http leaves the body out of an answer to HEAD.
func write(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, before+text+after) // nobody is there to be told
}
