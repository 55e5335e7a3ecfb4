// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/seguemta/segue/mta/api"
)

// messagesEndpoint takes a message: 202 only when it survives a power cut.
func messagesEndpoint() endpoint {
	return takes(endpoint{
		method: http.MethodPost, path: "/api/v1/messages", name: "submit", status: http.StatusAccepted, limit: maxMessage,
		summary: "Submit a message, raw or in parts. 202 means that it is on disk.",
	}, func(m api.Methods, r *http.Request, msg api.Message) (api.Submitted, error) {
		switch {
		case len(msg.To) == 0:
			return api.Submitted{}, bad("bad body", "to names no recipient")
		case msg.Raw == "" && msg.Text == "" && msg.HTML == "":
			return api.Submitted{}, bad("bad body", "there is no message: give raw, or text or html")
		case msg.Raw != "" && (msg.Text != "" || msg.HTML != "" || msg.Subject != ""):
			return api.Submitted{}, bad("bad body", "raw is a whole message: leave out subject, text and html")
		}
		return m.Submit(r.Context(), msg)
	})
}
