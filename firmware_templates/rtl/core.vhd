-- %{banner}
--
-- %{name}_core: the hardware words of one event in, its score word out, a new event every clock.
-- An event taken with valid_in comes out with valid_out %{latency} clock cycles later, the output
-- registers included; score_next and valid_next are what those registers take at the next edge.
-- rst (synchronous, active high) drops all events that are inside; valid_in is ignored while rst is
-- high. score means nothing while valid_out is low.
--
-- words, from bit 0 up (width in bits, s: signed):
%{layout}
library ieee;
use ieee.std_logic_1164.all;

entity %{name}_core is
    port (
        clk       : in  std_logic;
        rst       : in  std_logic;
        valid_in  : in  std_logic;
        words     : in  std_logic_vector(%{words_msb} downto 0);
        valid_out : out std_logic;
        score      : out std_logic_vector(%{score_msb} downto 0);
        valid_next : out std_logic;
        score_next : out std_logic_vector(%{score_msb} downto 0)
    );
end entity;

architecture rtl of %{name}_core is
    signal valid          : std_logic_vector(%{latency} - 1 downto 0);
    signal valid_chain    : std_logic_vector(%{latency} downto 0);
    signal next_score     : std_logic_vector(%{score_msb} downto 0);
    -- Only the words that the score depends on.
    signal program_input  : std_logic_vector(%{program_input_msb} downto 0);
    signal program_output : std_logic_vector(%{program_output_msb} downto 0);
begin

    process (clk)
    begin
        if rising_edge(clk) then
            if rst = '1' then
                valid <= (others => '0');
            else
                valid <= valid_chain(%{latency} - 1 downto 0);
            end if;
            score <= next_score;
        end if;
    end process;

    valid_chain <= valid & valid_in;
    valid_next <= valid_chain(%{latency} - 1);
    valid_out <= valid_chain(%{latency});

%{program_input}

    program_i : entity work.%{name}_program
        port map (%{program_clock}model_inp => program_input, model_out => program_output);

    next_score <= %{score};
    score_next <= next_score;

end architecture;
