// Package client calls the custom-user-status.* endpoints of a chat server: those of
// httpadapter, and those of a Rocket.Chat. It needs only the standard library and
// package customstatus.
//
//	c, err := client.New("https://chat.example.com", &client.Options{
//		Credentials: client.Credentials{UserID: "rbAXPnMktTFbNpwtJ", Token: token},
//	})
//	if err != nil {
//		return err
//	}
//	lunch, err := c.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
//	if errors.Is(err, customstatus.ErrNameInUse) {
//		return nil
//	}
//	err = c.Delete(ctx, lunch.ID)
//
// [Client.Follow] keeps a live copy of the catalog. It uses the event stream where the
// server has one, and else asks for the list at intervals.
//
// # Errors
//
// A refusal is an [*Error] with the status, the code and the request id of the answer.
// [errors.Is] finds the sentinels of package customstatus in it, such as
// [customstatus.ErrNameInUse], and those of this package, such as [ErrUnauthorized].
// [errors.As] finds a [*customstatus.Error] for what a catalog refuses. An answer that
// the API can't have given, such as a page of a proxy, is [ErrUnexpectedAnswer].
//
// # Retries
//
// Reads are repeated after failures that can pass: a broken connection, a time-out,
// and the statuses 408, 425, 429 and from 500. A write is repeated only if no
// connection could be made, so that it is never done twice. A write that got no clear
// answer returns [customstatus.ErrOutcomeUnknown]: read before you write again.
//
// # Limits
//
// The statuses from a server have no [customstatus.CustomUserStatus.Revision], because
// the wire doesn't have it, and have metadata only if the server shows it. An answer has
// at most [Options.MaxAnswerBytes]. Redirects of reads are followed within the same
// origin. Other redirects are errors, so that the token never goes to another host.
package client
