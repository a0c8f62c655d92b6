// %{banner}
//
// %{name}_core: the hardware words of one event in, its score word out, a new event every clock.
// An event taken with valid_in comes out with valid_out %{core_latency} clock cycles later (input and
// output registers included). rst (synchronous, active high) drops all events that are inside;
// valid_in is ignored while rst is high. `score` means nothing while valid_out is low.
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
    output wire [%{score_msb}:0] score
);

    reg [%{core_latency}-1:0] valid;

    always @(posedge clk)
        if (rst) valid <= {%{core_latency}{1'b0}};
        else valid <= {valid[%{core_latency}-2:0], valid_in};

    assign valid_out = valid[%{core_latency}-1];

    // Only the words that the score depends on.
    wire [%{program_input_msb}:0] program_input;
%{program_input}

    wire [%{program_output_msb}:0] program_output;

    %{name}_program program_i (
        .clk(clk),
        .model_inp(program_input),
        .model_out(program_output)
    );

    assign score = %{score};

endmodule
