complete -c conf-cam -l video -d 'Where the pictures come from: camera[:ID], test[:clock|bars|noise], file:PATH (Y4M or H.264; - is stdin)' -r
complete -c conf-cam -l quality -d 'How large the pictures are [default: as the source has them, cameras at 640x480]' -r -f -a "low\t'Half the area of 640x480'
medium\t'Three quarters of the area of 640x480'
high\t'The area of 640x480'
hd\t'As large as fits into 1280x720'
fullhd\t'As large as fits into 1920x1080'"
complete -c conf-cam -l size -d 'How large the pictures are, exactly' -r
complete -c conf-cam -l fps -d 'Pictures per second, 1 to 120 [default: 30, files at their own pace]' -r
complete -c conf-cam -l bitrate -d 'Bits per second, such as 800k or 2M [default: by size]' -r
complete -c conf-cam -l pixel-format -d 'How the camera delivers its pixels [default: what is best]' -r -f -a "yuyv\t'Packed 4:2:2'
nv12\t'Half-planar 4:2:0'
mjpeg\t'A JPEG picture each'"
complete -c conf-cam -s f -l format -d 'What to write' -r -f -a "conf\t'Frames, for conf-send and conf-view'
h264\t'H.264 in Annex B form'
y4m\t'Raw pictures (YUV4MPEG2)'"
complete -c conf-cam -s o -l output -d 'Where to write, - for stdout' -r -F
complete -c conf-cam -s t -d 'End after this time, such as 90s or 1h30m' -r
complete -c conf-cam -l frames -d 'End after so many pictures' -r
complete -c conf-cam -l snapshot -d 'Write one picture to a PNG file and end' -r -F
complete -c conf-cam -l list -d 'Say what cameras there are, as text or as json, and end' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c conf-cam -l log-file -d 'Write the log to a file instead of stderr (-: stderr)' -r -F
complete -c conf-cam -l log-format -d 'How the log is written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-cam -l color -d 'When to use colours on stderr' -r -f -a "auto\t'Where it makes sense'
always\t'Everywhere'
never\t'Nowhere'"
complete -c conf-cam -l completions -d 'Print the completions of a shell' -r -f -a "bash\t''
elvish\t''
fish\t''
powershell\t''
zsh\t''"
complete -c conf-cam -l clock -d 'Burn the time of capture into the pictures (test pictures always have it)'
complete -c conf-cam -l loop -d 'Begin a file again at its end'
complete -c conf-cam -l force -d 'Write binary data to a terminal'
complete -c conf-cam -s q -l quiet -d 'Say less: errors only'
complete -c conf-cam -s v -l verbose -d 'Say more; twice for everything'
complete -c conf-cam -l no-input -d 'Never ask anything'
complete -c conf-cam -l man -d 'Print the manual page'
complete -c conf-cam -s h -l help -d 'Print help (see more with \'--help\')'
complete -c conf-cam -s V -l version -d 'Print version'
