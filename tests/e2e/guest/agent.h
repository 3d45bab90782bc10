/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest agent: what its parts know of each other. A command's function gets its words (argv[0] is
 * the command), writes key=value words to out, and returns 0 or a negative errno.
 */
#ifndef AGENT_H
#define AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct text {
	char buf[32768];
	size_t len;
};

struct command {
	const char *name;
	const char *usage;
	int min_args, max_args;
	int (*run)(int argc, char **argv, struct text *out);
};

/* agent.c */
__attribute__((format(printf, 2, 3))) void text_add(struct text *t, const char *fmt, ...);
int parse_u32(const char *s, uint32_t *ret);
int read_small_file(const char *path, char *buf, size_t size);
int write_small_file(const char *path, const char *value);
uint64_t now_ns(void);

/* pattern.c: every pattern is a function of size, position and seed alone; pattern.py has its twin */
struct pattern {
	uint32_t width, height, seed;
	void (*row)(const struct pattern *p, uint32_t y, uint32_t *xrgb);
	uint32_t noise[4099];
};

/* Dots at or beyond this width are refused, so that a row fits a buffer of fixed size. */
#define MAX_WIDTH 8192

int pattern_init(struct pattern *p, const char *name, uint32_t width, uint32_t height,
		 uint32_t seed);
/* How a dot lies in memory. */
enum dots { DOTS_RGB565, DOTS_XRGB8888, DOTS_BGRX8888 /* XRGB in big-endian order */ };

/* Stores the pattern to memory with the given bytes per line. */
void pattern_draw(const struct pattern *p, volatile void *dst, size_t pitch, enum dots dots);

/* pci.c */
#define PCI_NAME_LEN 16
int pci_find_display(char ret_name[PCI_NAME_LEN]);
int pci_read_attr(const char *name, const char *attr, char *buf, size_t size);
bool pci_has_driver(const char *name);
extern const struct command pci_commands[];

/* vfio.c: any function, over the guest kernel's own vfio-pci */
extern const struct command vfio_commands[];

/* kms.c */
struct frame {
	uint32_t width, height, pitch, handle, fb;
	size_t size;
	void *map;
};

int kms_open(void);
void kms_close(void);
bool kms_card_present(const char *pci_name);
/* A buffer that can be shown; of no use to the screen until kms_show. frame_destroy takes any state. */
int frame_create(uint32_t width, uint32_t height, enum dots dots, struct frame *ret);
void frame_destroy(struct frame *f);
/* Sets the mode width x height and shows f from line y on. */
int kms_show(const struct frame *f, uint32_t width, uint32_t height, uint32_t y);
/* Shows another frame of the size that is set. */
int kms_flip(const struct frame *f);
/* Takes over f, which is being shown, and destroys what was shown before. */
void kms_keep(struct frame *f);
const char *kms_driver(void);
void kms_describe(struct text *out);
extern const struct command kms_commands[];

/* demo.c: an animated picture, one step a frame */
int demo_start(uint32_t width, uint32_t height);
bool demo_running(void);
void demo_step(void);
/* Only while it runs. The last picture stays on the screen. */
void demo_stop(struct text *out);

#endif
