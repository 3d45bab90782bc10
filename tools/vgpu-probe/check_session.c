/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients that come, stay, and go. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/bytes.h"
#include "check.h"

static const char clause[] = "vfio-user: Client Disconnection";
static const char trust_clause[] = "vfio-user: Security Considerations";

static void reconnect(struct check_run *t)
{
	for (int i = 0; i < 50; i++) {
		check_open(t);
		check_in_step(t, "a new connection");
		check_close(t);
	}
}

static void silent(struct check_run *t)
{
	for (int i = 0; i < 10; i++) {
		check_connect(t);
		check_close(t);
	}
	check_open(t);
	check_in_step(t, "clients that said nothing");
}

static void half_message(struct check_run *t)
{
	struct vfio_user_header header = { .command = VFIO_USER_REGION_WRITE, .size = 1000 };

	for (size_t length = 1; length <= sizeof(header); length += 5) {
		check_ok(t, link_send(&t->door->link, &header, length, NULL, 0),
			 "sending a part of a message");
		check_survives(t, "a client that went in the middle of a message");
	}
}

/* Leaves while replies are on their way. */
static void unread(struct check_run *t)
{
	struct vfio_user_region_access access = { .region = VFIO_PCI_CONFIG_REGION_INDEX,
						  .count = 256 };

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 100; i++)
			check_ok(t,
				 link_send_message(&t->door->link, VFIO_USER_REGION_READ, 0,
						   &access, sizeof(access), NULL, 0, NULL),
				 "sending a read");
		check_survives(t, "a client that did not wait for its replies");
	}
}

static void half_closed(struct check_run *t)
{
	shutdown(t->door->link.fd, SHUT_WR);
	EXPECT(t, link_is_closed(&t->door->link),
	       "the server keeps a connection on which nothing can come any more");
	check_survives(t, "a client that closed one half");
}

/* The one that is served is not harmed by others that would be. */
static void second_client(struct check_run *t)
{
	struct link second;

	if (link_open(&second, t->path, t->timeout_ms) < 0) {
		check_in_step(t, "a second client that was not let in");
		return;
	}
	check_in_step(t, "a second client came");
	link_send_message(&second, VFIO_USER_VERSION, 0, "\0\0\0\0", 4, NULL, 0, NULL);
	for (int i = 0; i < 20; i++)
		check_in_step(t, "a second client spoke");
	link_close(&second);
	check_in_step(t, "a second client went");
}

/* The same device, whoever comes. */
static void same_device(struct check_run *t)
{
	for (int i = 0; i < 3; i++) {
		for (uint32_t r = 0; r < t->facts->n_regions; r++) {
			const struct probe_region *before = &t->facts->regions[r];
			struct probe_region now;

			check_region(t, r, &now);
			EXPECT(t,
			       now.size == before->size && now.flags == before->flags &&
				       now.n_areas == before->n_areas,
			       "region %u is another one than it was for the first client", r);
		}
		check_close(t);
		check_open(t);
	}
}

const struct check checks_session[] = {
	{ "session.reconnect", "clients may come and go", clause, CHECK_UNCONNECTED, reconnect },
	{ "session.same", "each finds the same device", clause, 0, same_device },
	{ "session.silent", "who says nothing harms nobody", trust_clause,
	  NEED_SOCKET | CHECK_UNCONNECTED, silent },
	{ "session.half-message", "nor who goes in the middle of a message", trust_clause,
	  NEED_SOCKET, half_message },
	{ "session.unread", "nor who does not wait for replies", trust_clause,
	  NEED_SOCKET | NEED_PCI, unread },
	{ "session.half-closed", "who will say nothing any more is gone", clause, NEED_SOCKET,
	  half_closed },
	{ "session.second", "a second client does not disturb the first", trust_clause, NEED_SOCKET,
	  second_client },
	{ 0 },
};
