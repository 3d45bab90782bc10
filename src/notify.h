/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells whoever started us how far we are (the protocol of sd_notify(3)), over a
 * socket that is connected at the start: sd_notify() itself makes one each time,
 * which a sandbox does not allow.
 */
#pragma once

/* Connects to $NOTIFY_SOCKET, if there is one. Logs why that can't be done. */
void notify_open(void);

/*
 * Sends "READY=1", if somebody waits for it, and closes the socket. It is one for
 * datagrams, which sendmsg() can address to any other, those of the host's
 * abstract namespace too: nothing to keep while clients are served.
 */
void notify_ready(void);
