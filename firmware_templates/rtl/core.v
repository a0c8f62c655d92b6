// %{banner}
//
// %{name}_core: the hardware words of one event in, its score word out, a new event every clock.
// An event taken with valid_in comes out with valid_out %{latency} clock cycles later, the output
// registers included; score_next and valid_next are what those registers take at the next edge.
// rst (synchronous, active high) drops all events that are inside; valid_in is ignored while rst is
// high. score means nothing while valid_out is low.
//
// words, from bit 0 up (width in bits, s: signed):
%{layout}
`timescale 1 ns / 1 ps
module %{name}_core (
    input  wire clk,
    input  wire rst,
    input  wire valid_in,
    input  wire [%{words_msb}:0] words,
    output wire valid_out,
    output reg  [%{score_msb}:0] score,
    output wire valid_next,
    output wire [%{score_msb}:0] score_next
);

    reg  [%{latency}-1:0] valid;
    wire [%{latency}:0] valid_chain = {valid, valid_in};

    always @(posedge clk) begin
        if (rst) valid <= {%{latency}{1'b0}};
        else valid <= valid_chain[%{latency}-1:0];
        score <= score_next;
    end

    assign valid_next = valid_chain[%{latency}-1];
    assign valid_out = valid_chain[%{latency}];

    // Only the words that the score depends on.
    wire [%{program_input_msb}:0] program_input;
%{program_input}

    wire [%{program_output_msb}:0] program_output;

    %{name}_program program_i (
%{program_clock}        .model_inp(program_input),
        .model_out(program_output)
    );

    assign score_next = %{score};

endmodule
