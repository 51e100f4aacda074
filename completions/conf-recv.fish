complete -c conf-recv -s l -l list -d 'Show what there is and end, without joining the room' -r -f -a "text\t'For people'
json\t'One JSON object'"
complete -c conf-recv -s o -l output -d 'Where to: a directory, another name for a single file, or - for stdout [default: this directory]' -r -F
complete -c conf-recv -l if-exists -d 'What happens to files that exist already [default: ask on a terminal, else fail]' -r -f -a "ask\t'Ask on the terminal'
rename\t'What comes gets another name: NAME (1)'
skip\t'What is there stays, and is not received'
overwrite\t'What comes takes its place'
fail\t'Nothing is received'"
complete -c conf-recv -l max-size -d 'Nothing larger than this, such as 500M' -r
complete -c conf-recv -l discard -d 'Remove what was received so far of an offer, by number or by the name of its file, and end' -r
complete -c conf-recv -l progress -d 'How progress is shown' -r -f -a "auto\t'Bars on a terminal, else lines'
bar\t'Bars'
plain\t'A line every 10 s and at the end'
json\t'One JSON object a line'
none\t'Nothing'"
complete -c conf-recv -s r -l room -d 'The room: conf://HOST[:PORT]/ROOM' -r
complete -c conf-recv -l name -d 'The name that the others see [default: the login name]' -r
complete -c conf-recv -l password-file -d 'The room\'s password is the first line of this file, which nobody else may read' -r -F
complete -c conf-recv -l connect-timeout -d 'How long one try to connect may take' -r
complete -c conf-recv -l reconnect -d 'Give up after this many tries in a row to come back; 0 never comes back [default: never gives up]' -r
complete -c conf-recv -l log-file -d 'Write the log to a file instead of stderr (-: stderr)' -r -F
complete -c conf-recv -l log-format -d 'How the log is written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-recv -l color -d 'When to use colours on stderr' -r -f -a "auto\t'Where it makes sense'
always\t'Everywhere'
never\t'Nowhere'"
complete -c conf-recv -l completions -d 'Print the completions of a shell' -r -f -a "bash\t''
elvish\t''
fish\t''
powershell\t''
zsh\t''"
complete -c conf-recv -s a -l all -d 'Everything that is new'
complete -c conf-recv -s w -l watch -d 'Everything that is new, and what is still to come, until Ctrl-C'
complete -c conf-recv -l new -d 'With --list: only what was not received yet'
complete -c conf-recv -s y -l yes -d 'Receive without asking'
complete -c conf-recv -l allow-hidden -d 'Take names that begin with a dot, too'
complete -c conf-recv -l force -d 'With -o -: write to a terminal, too'
complete -c conf-recv -s q -l quiet -d 'Say less: errors only'
complete -c conf-recv -s v -l verbose -d 'Say more; twice for everything'
complete -c conf-recv -l no-input -d 'Never ask anything'
complete -c conf-recv -l man -d 'Print the manual page'
complete -c conf-recv -s h -l help -d 'Print help (see more with \'--help\')'
complete -c conf-recv -s V -l version -d 'Print version'
