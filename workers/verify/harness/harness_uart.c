/* The harness over a UART: answers one request after the other, for ever.
 *
 * Request: "TMLQ", kind, sequence, index (2 bytes), length (4), payload, checksum (4).
 * Answer:  "TMLA", kind, sequence, status (2 bytes), length (4), payload, checksum (4).
 *
 * Numbers are little-endian. The checksum is CRC-32 (IEEE 802.3) of all between the first four
 * bytes and itself. Whatever is no request is passed over; one that came damaged is answered with
 * status 1, and whoever asked asks again.
 *
 * There is no RAM for a second copy of an input, so it is written before its checksum is known. One
 * that then proves damaged may have been meant for another input, or repeat one that had come well
 * before: after that no run is begun (status 3) before all inputs were written again, from the
 * first one on.
 */
#include "harness_uart.h"
#include "module_table.h"
#include "port.h"

enum { HELLO = 'h', INIT = 'i', INPUT = 'w', INVOKE = 'x', OUTPUT = 'r' };
enum { OK = 0, DAMAGED = 1, REFUSED = 2, SPOILED = 3 };
enum { PROTOCOL = 2, ID_CHARACTERS = 64 };

struct request {
  uint8_t kind, sequence;
  uint16_t index;
  uint32_t length;
};

static uint32_t checksum;
static int spoiled; /* an input has come damaged since the first of them was written well */
static int32_t last_run = -1; /* the number of the run that `last` is of */
static struct measurement last;

static void add(const uint8_t *bytes, uint32_t size) {
  for (uint32_t i = 0; i < size; i++) {
    checksum ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) {
      checksum = (checksum >> 1) ^ (0xEDB88320u & (0u - (checksum & 1u)));
    }
  }
}

static void take(void *to, uint32_t size) {
  tinymlaas_uart_read(to, size);
  add(to, size);
}

static void give(const void *from, uint32_t size) {
  add(from, size);
  tinymlaas_uart_write(from, size);
}

static void give_number(uint32_t number) {
  const uint8_t bytes[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 24)};
  give(bytes, sizeof bytes);
}

static uint32_t number_in(const uint8_t *bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void wait_for_request(struct request *request) {
  uint32_t seen = 0;
  uint8_t byte, head[8];
  while (seen != 0x544D4C51u) { /* TMLQ */
    tinymlaas_uart_read(&byte, 1);
    seen = seen << 8 | byte;
  }
  checksum = 0xFFFFFFFFu;
  take(head, sizeof head);
  request->kind = head[0];
  request->sequence = head[1];
  request->index = (uint16_t)(head[2] | head[3] << 8);
  request->length = number_in(head + 4);
}

static int is_whole(void) {
  const uint32_t sum = ~checksum;
  uint8_t bytes[4];
  tinymlaas_uart_read(bytes, sizeof bytes);
  return number_in(bytes) == sum;
}

static void begin(const struct request *request, uint32_t status, uint32_t length) {
  const uint8_t head[4] = {request->kind, request->sequence, (uint8_t)status, 0};
  tinymlaas_uart_write("TMLA", 4);
  checksum = 0xFFFFFFFFu;
  give(head, sizeof head);
  give_number(length);
}

static void end(void) {
  const uint32_t sum = ~checksum;
  give_number(sum);
}

static void answer(const struct request *request, uint32_t status) {
  begin(request, status, 0);
  end();
}

static int32_t init_call(void) { return tinymlaas_module.init(tinymlaas_module.arena); }

static int32_t empty_call(void) { return 0; }

static void give_measurement(const struct request *request, const struct measurement *m) {
  begin(request, m->status == 0 ? OK : REFUSED, 16);
  give_number((uint32_t)m->status);
  give_number(m->ticks.fine);
  give_number(m->ticks.coarse);
  give_number(m->stack);
  end();
}

static void init(const struct request *request) {
  struct measurement m;
  last_run = -1;
  for (uint32_t i = 0; i < tinymlaas_module.arena_bytes; i++) {
    ((uint8_t *)tinymlaas_module.arena)[i] = 0xA5; /* a module may not count on zeros there */
  }
  ticks_start();
  measure(init_call, &m);
  if (m.status == 0) {
    measure(empty_call, &m); /* what measuring itself takes */
  }
  give_measurement(request, &m);
}

static void invoke(const struct request *request) {
  /* Asked again as its answer was lost, a module that has a state must not run again. */
  if (last_run != request->index) {
    if (spoiled) {
      answer(request, SPOILED);
      return;
    }
    measure(tinymlaas_module.invoke, &last);
    last_run = request->index;
  }
  give_measurement(request, &last);
}

static void hello(const struct request *request) {
  begin(request, OK, 16 + ID_CHARACTERS);
  give_number(PROTOCOL);
  give_number(tinymlaas_facts.inputs);
  give_number(tinymlaas_facts.outputs);
  give_number(tinymlaas_facts.counts_instructions);
  give(tinymlaas_facts.id, ID_CHARACTERS);
  end();
}

static void output(const struct request *request) {
  const uint32_t size = tinymlaas_facts.output_bytes[request->index];
  begin(request, OK, size);
  give(tinymlaas_module.output(request->index), size);
  end();
}

/* Read what follows the head; return whether all came as it was sent. */
static int take_payload(const struct request *request) {
  uint32_t expected = 0;
  void *to = 0;
  if (request->kind == INPUT) {
    if (request->index >= tinymlaas_facts.inputs) {
      return 0;
    }
    to = tinymlaas_module.input(request->index);
    expected = tinymlaas_facts.input_bytes[request->index];
  }
  if (request->length != expected || (expected != 0 && to == 0)) {
    return 0;
  }
  take(to, expected);
  const int whole = is_whole();
  if (request->kind == INPUT && !whole) {
    spoiled = 1;
  } else if (request->kind == INPUT && request->index == 0) {
    spoiled = 0;
  }
  return whole;
}

void tinymlaas_harness(void) {
  struct request request;
  for (;;) {
    wait_for_request(&request);
    if (!take_payload(&request)) {
      answer(&request, DAMAGED);
    } else if (request.kind == HELLO) {
      hello(&request);
    } else if (request.kind == INIT) {
      init(&request);
    } else if (request.kind == INVOKE) {
      invoke(&request);
    } else if (request.kind == OUTPUT && request.index < tinymlaas_facts.outputs &&
               tinymlaas_module.output(request.index) != 0) {
      output(&request);
    } else {
      answer(&request, request.kind == INPUT ? OK : REFUSED);
    }
  }
}
